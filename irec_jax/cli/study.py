"""`irec study NAME`: reproduce the tables and figures of a paper."""

import contextlib
import importlib
from collections.abc import Sequence

from irec_jax.cli import CommandParser
from irec_jax.cli.console import named_arguments
from irec_jax.studies import STUDIES, options


def main(words: Sequence[str]) -> int:
    """Run `irec study NAME`; each study has its own options."""
    parser = CommandParser(
        prog="irec study",
        description="Reproduce the tables and figures of a paper next to the published results.",
    )
    parser.add_argument("name", choices=sorted(STUDIES), help="options: see irec study NAME --help")
    name = parser.parse_args(words[:1]).name
    parser = CommandParser(prog=f"irec study {name}", description=options.description(name))
    options.add_arguments(name, parser)
    arguments = parser.parse_args(words[1:])
    # Imported here, so that --help and argument errors appear immediately.
    module = importlib.import_module(STUDIES[name])
    from irec_jax.checkpoints.lock import run_lock
    from irec_jax.files import expand_home
    from irec_jax.studies.runs import TaskEnded

    # The tasks of a job array share the study folder; each run has its own lock.
    shared = vars(arguments).get("task")
    with (
        contextlib.nullcontext() if shared else run_lock(expand_home(arguments.workdir, urls=True))
    ):
        try:
            with named_arguments({n: f"--{n.replace('_', '-')}" for n in vars(arguments)}):
                return module.run(arguments)
        except TaskEnded as task:
            return task.exit_code
