"""Speed benchmarks against other implementations; run `python -m irec_jax.benchmarks.NAME`.

Implementations run in alternation in one process, on the same inputs and with one thread per core.
The tables list each implementation's median and minimum times and the ratio of its median to ours.
A ratio above 1 means that ours is faster. Benchmarks raise `UserError` if a package needed for the
comparison is missing; ``pip install 'irec-jax[peers]'`` installs all packages used in comparisons.
"""
