"""Speed compared with other implementations; run `python -m irec_jax.benchmarks.NAME`."""
