"""Training and evaluation: `python -m irec_jax.main --config=configs/han.py`."""

import sys
from collections.abc import Sequence

from irec_jax.cli import after_interrupt
from irec_jax.cli.console import command, exit_process, run_command, use_compilation_cache, use_utf8


def main(words: Sequence[str] | None = None) -> None:
    """Train and evaluate a system, as `irec train CONFIG` does."""
    from irec_jax.cli.train import train  # imports JAX, which reads environment variables

    prog = "python -m irec_jax.main"
    with command(prog, after_interrupt("train", sys.argv if words is None else words)):
        train(words, "--config", prog=prog)


if __name__ == "__main__":
    use_utf8()
    use_compilation_cache()
    exit_process(run_command(main))
