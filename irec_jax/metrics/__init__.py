"""Evaluation metrics.

All are computed in float64, except `amplitude_sdr` of JAX arrays, which keeps their dtype. This
package does not depend on models or files.
"""

from irec_jax.metrics.spectral import amplitude_sdr, mdx_sdr

__all__ = ["amplitude_sdr", "mdx_sdr"]
