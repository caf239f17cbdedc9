"""Speed side by side with what people use today: `python -m irec_jax.benchmarks.NAME`."""
