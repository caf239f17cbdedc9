"""Measures of what was predicted: numpy, float64, exact; nothing here knows a model or a file."""
