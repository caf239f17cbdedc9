"""irec-jax: musical instrument recognition and music separation in JAX."""
