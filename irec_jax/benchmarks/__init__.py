"""Speed benchmarks against other implementations; run `python -m irec_jax.benchmarks.NAME`.

Implementations run in alternation in one process, on the same inputs and with one thread per core.
Tables list the median and minimum time of each implementation and the ratio of its median to ours;
above 1, ours is faster. Functions that compare with another package raise `UserError` if it is
missing; ``pip install 'irec-jax[peers]'`` installs all of these packages.
"""
