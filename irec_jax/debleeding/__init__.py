"""The tracks of a recording without crosstalk: a folder of files in, a folder of files out."""

from irec_jax.debleeding.run import Debled, debleed
from irec_jax.debleeding.tables import tables

__all__ = ["Debled", "debleed", "tables"]
