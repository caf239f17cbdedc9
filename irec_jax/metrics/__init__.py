"""Evaluation metrics.

All metrics are computed in float64, except that `amplitude_sdr` keeps the dtype of JAX arrays.
This package does not depend on models or files.
"""

from irec_jax.metrics.spectral import amplitude_sdr, mdx_sdr

__all__ = ["amplitude_sdr", "mdx_sdr"]
