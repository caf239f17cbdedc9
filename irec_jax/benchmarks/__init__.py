"""Speed compared with other implementations; run `python -m irec_jax.benchmarks.NAME`.

Implementations take turns in one process on the same inputs, with one thread per core. Tables have
the median and minimum time of each, and its median relative to ours: above 1, ours is faster. All
functions that need a package to compare with raise `UserError` if it is missing; install all of
them with ``pip install 'irec-jax[peers]'``.
"""
