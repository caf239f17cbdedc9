"""Training and evaluation: `python -m irec_jax.main --config=configs/han.py`."""

from collections.abc import Sequence

from irec_jax.cli.console import exit_process, run_command, use_utf8
from irec_jax.cli.train import train


def main(words: Sequence[str] | None = None) -> None:
    """Run the command; the same as `irec train CONFIG`."""
    train(words, "--config", prog="python -m irec_jax.main")


if __name__ == "__main__":
    use_utf8()
    exit_process(run_command(main))
