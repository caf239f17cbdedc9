"""Summary of a config, without loading data or computing anything."""

import jax
from ml_collections import config_dict

from irec_jax import data
from irec_jax.config.checks import check_config
from irec_jax.tasks import MultiInstance, Separation
from irec_jax.training.logging import num_parameters, parameter_table


def dry_run(config: config_dict.ConfigDict) -> str:
    """Return the resolved config, the shapes in a batch, and a parameter table."""
    task, params, rate = check_config(config)
    size, name = config.training.batch_size, config.data.split
    examples = jax.ShapeDtypeStruct((size, task.window_samples), "float32")
    features = jax.eval_shape(task.frontend, examples)
    feature_lines = [
        f"features  {array.shape} {array.dtype}" + "".join(f" {key.key}" for key in path)
        for path, array in jax.tree_util.tree_leaves_with_path(features)
    ]
    if isinstance(task, Separation):
        lines = [
            f"stems     {len(task.stems)}: {', '.join(task.stems)}",
            f"target    {' + '.join(task.target)}",
        ]
        split, shape = data.STEM_SPLITS[name], (size, len(task.stems), task.window_samples)
        output = f"{features.shape} float32, features of the target"
    else:
        lines = [f"classes   {len(task.classes)}: {', '.join(task.classes)}"]
        split = data.describe_split(config.data, data.test_split(config.data))
        shape = (size, task.window_samples)
        if isinstance(task, MultiInstance):
            lines.append(f"bags      of {task.num_instances} instances, {config.bag.aggregate}")
            shape = (size, task.bag_samples)
        output = f"{(size, len(task.classes))} float32, probabilities"
    return "\n".join(
        [
            str(config).rstrip(),
            "",
            *lines,
            f"split     {name}: {split}",
            f"audio     {shape} int16 at {rate} Hz",
            *feature_lines,
            f"output    {output}",
            "",
            parameter_table(params),
            "",
            f"parameters: {num_parameters(params)}",
        ]
    )
