"""The tables and figures of the papers, each one command: `irec study NAME`.

A study is a module with `add_arguments(parser)` and `run(arguments)`, whose docstring's first line
says what it does. It writes ``report.md`` and ``report.json`` to its workdir and goes on where it
was interrupted.
"""

#: Name -> module.
STUDIES = {
    "crosstalk": "irec_jax.studies.crosstalk",
    "goel": "irec_jax.studies.goel",
    "separation": "irec_jax.studies.separation",
    "vazonis": "irec_jax.studies.vazonis",
}
