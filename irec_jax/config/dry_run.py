"""Summary of a config without data and without computing anything."""

from typing import Any

import jax
from ml_collections import config_dict

from irec_jax import data
from irec_jax.config.checks import check_config
from irec_jax.tasks import Separation
from irec_jax.training.logging import num_parameters, parameter_table


def dry_run(config: config_dict.ConfigDict) -> str:
    """Return the resolved config, the shapes of a batch and the table of parameters."""
    task, params, rate = check_config(config)
    size = config.training.batch_size
    examples = jax.ShapeDtypeStruct((size, task.window_samples), "float32")
    features = jax.eval_shape(task.frontend, examples)
    if isinstance(task, Separation):
        lines = [
            f"stems     {len(task.stems)}: {', '.join(task.stems)}",
            f"target    {' + '.join(task.target)}",
            f"split     {config.data.split}: {data.STEM_SPLITS[config.data.split]}",
        ]
        shape, output = (size, len(task.stems), task.window_samples), features.shape
        meaning = "features of the target"
    else:
        lines = [
            f"classes   {len(task.classes)}: {', '.join(task.classes)}",
            f"split     {config.data.split}: {data.SPLITS[config.data.split]}",
        ]
        shape, output = (size, task.window_samples), (size, len(task.classes))
        meaning = "probabilities"
    return "\n".join(
        [
            str(config).rstrip(),
            "",
            *lines,
            f"audio     {shape} int16 at {rate} Hz",
            *_feature_lines(features),
            f"output    {output} float32, {meaning}",
            "",
            parameter_table(params),
            "",
            f"parameters: {num_parameters(params)}",
        ]
    )


def _feature_lines(features: Any) -> list[str]:
    """Return a line for each array of features, which may be a dict of arrays."""
    lines = []
    for path, array in jax.tree_util.tree_leaves_with_path(features):
        name = "".join(f" {key.key}" for key in path)
        lines.append(f"features  {array.shape} {array.dtype}{name}")
    return lines
