"""Code shared by several datasets."""
