"""Music to some of its stems and the rest: files or arrays in, the same out."""

from irec_jax.separating.places import find, folder_names
from irec_jax.separating.run import Separated, separate, separate_file

__all__ = ["Separated", "find", "folder_names", "separate", "separate_file"]
