"""Measures of what was predicted: exact, float64; nothing here knows a model or a file."""
