"""Convolution, pooling, normalisation and recurrence that are fast on CPU, with their gradients."""
