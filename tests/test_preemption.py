"""SIGTERM: recorded while it is deferred, else raised; the second one ends the process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
START = """
import os, signal
from irec_jax import preemption
preemption.install()
def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
"""


def execute(script):
    """Return the exit code and the output of a script in a separate process."""
    completed = subprocess.run(
        [sys.executable, "-c", START + script], cwd=ROOT, capture_output=True, text=True
    )
    return completed.returncode, completed.stdout.split()


def test_sigterm_is_raised_at_once_outside_of_a_deferral():
    code, printed = execute("""
try:
    terminate()
    print("continued")
except preemption.Preempted as error:
    print("raised", isinstance(error, KeyboardInterrupt))
""")
    assert (code, printed) == (0, ["raised", "True"])


def test_deferred_sigterm_is_raised_at_the_end_of_the_block():
    code, printed = execute("""
try:
    with preemption.deferred():
        print(preemption.requested())
        terminate()
        print(preemption.requested())
    print("continued")
except preemption.Preempted:
    print("raised")
""")
    assert (code, printed) == (0, ["False", "True", "raised"])


def test_errors_of_a_deferral_are_not_replaced():
    code, printed = execute("""
try:
    with preemption.deferred():
        terminate()
        raise ValueError
except ValueError:
    print("error")
""")
    assert (code, printed) == (0, ["error"])


@pytest.mark.parametrize("block", ["preemption.deferred()", "contextlib.suppress(BaseException)"])
def test_second_sigterm_ends_the_process(block):
    script = f"import contextlib\nwith {block}:\n    terminate()\nterminate()\nprint('continued')"
    if "deferred" in block:
        script = script.replace("\nterminate", "\n    terminate")
    assert execute(script) == (-signal.SIGTERM, [])


def test_lost_lock_is_not_deferred():
    code, printed = execute("""
try:
    with preemption.deferred():
        preemption.end_deferral()
        terminate()
        print("continued")
except preemption.Preempted:
    print("raised")
""")
    assert (code, printed) == (0, ["raised"])


def test_commands_end_with_the_exit_code_for_another_try():
    code, printed = execute("""
from irec_jax.cli.console import run_command
print(run_command(terminate), preemption.EXIT_CODE)
""")
    assert (code, printed) == (0, ["75", "75"])
