"""What all command lines share: one line for what goes wrong, and interrupts that are not lost."""

import gc
import os
import signal
import time

import pytest

from irec_jax.cli.console import run_command
from irec_jax.errors import UserError


def test_an_interrupt_in_a_callback_of_the_garbage_collector_is_not_lost(capsys):
    interrupted = []

    def callback(*_):  # exceptions in it are ignored
        if not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the interrupt comes here

    def main():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(5)
        return 0

    try:
        assert run_command(main) == 130
    finally:
        gc.callbacks.remove(callback)
    assert capsys.readouterr().err.startswith("interrupted")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("x.wav: no such file"), "error: x.wav: no such file\n"),
        (OSError(28, "No space left on device", "y.wav"), "error: y.wav: No space left"),
    ],
)
def test_faults_cost_one_line(capsys, error, message):
    def main():
        raise error

    assert run_command(main) == 1
    found = capsys.readouterr().err
    assert found.startswith(message) and found.count("\n") == 1
