"""Error and interrupt handling shared by all commands."""

import gc
import os
import signal
import time

import pytest

from irec_jax.cli.console import run_command
from irec_jax.errors import UserError


def test_interrupt_in_a_garbage_collector_callback_is_not_lost(capsys):
    interrupted = []

    def callback(*_):  # Python ignores exceptions raised here
        if not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the interrupt arrives here

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
def test_errors_are_reported_in_one_line(capsys, error, message):
    def main():
        raise error

    assert run_command(main) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(message) and printed.count("\n") == 1
