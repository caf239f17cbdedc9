"""Studies: the tables and figures of the papers, each reproduced by `irec study NAME`.

A study is a module with `run(arguments)`; the first line of its docstring is the help text of the
command, whose options are in `options`. It writes ``report.html``, ``report.md`` and
``report.json`` to its workdir, and resumes if it was interrupted.
"""

#: Name -> module.
STUDIES = {
    "ablation": "irec_jax.studies.ablation",
    "crosstalk": "irec_jax.studies.crosstalk",
    "goel": "irec_jax.studies.goel",
    "han": "irec_jax.studies.han",
    "seipel": "irec_jax.studies.seipel",
    "separation": "irec_jax.studies.separation",
    "vazonis": "irec_jax.studies.vazonis",
}
