"""Measures of what was predicted: exact, float64 (`amplitude_sdr` of JAX's arrays: in their dtype).

Nothing here knows a model or a file.
"""

from irec_jax.metrics.spectral import amplitude_sdr, mdx_sdr

__all__ = ["amplitude_sdr", "mdx_sdr"]
