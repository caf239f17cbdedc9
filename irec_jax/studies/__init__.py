"""Tables and figures from the papers, reproduced by `irec study NAME`.

Each study is a module with a `run(arguments)` function. The first line of the module's docstring is
the help text of the command, whose options are defined in `options`. A study writes
``report.html``, ``report.md`` and ``report.json`` to its workdir. An interrupted study resumes when
it is run again.
"""

#: Study name -> module.
STUDIES = {
    "ablation": "irec_jax.studies.ablation",
    "crosstalk": "irec_jax.studies.crosstalk",
    "goel": "irec_jax.studies.goel",
    "han": "irec_jax.studies.han",
    "seipel": "irec_jax.studies.seipel",
    "separation": "irec_jax.studies.separation",
    "vazonis": "irec_jax.studies.vazonis",
}
