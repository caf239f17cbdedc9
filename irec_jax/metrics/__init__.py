"""Measures of what was predicted: numpy or JAX, float64, exact; nothing here knows a model or a file."""
