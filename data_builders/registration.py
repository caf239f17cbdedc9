"""Registration of all datasets with TFDS.

    import data_builders.registration
    builder = tfds.builder("gm_irmas", data_dir=...)

TFDS registers a builder class when its module is imported.
"""

import importlib

import data_builders

for _name in data_builders.DATASETS:
    importlib.import_module(f"data_builders.{_name}.builder")
