"""Experiments: a config to a trained system and its report, in a workdir."""

from pathlib import Path

from ml_collections import config_dict

from irec_jax.experiment import base
from irec_jax.experiment.recognition import RecognitionExperiment
from irec_jax.experiment.separation import SeparationExperiment

__all__ = ["EXPERIMENTS", "RecognitionExperiment", "SeparationExperiment", "run"]

EXPERIMENTS = {"recognition": RecognitionExperiment, "separation": SeparationExperiment}


def run(name: str, config: config_dict.ConfigDict, folder: Path, mode: str) -> dict:
    """Train and evaluate every repeat of a config.

    Args:
        name: of the config, such as 'han'.
        config: resolved and locked.
        folder: the workdir; repeats are stored in its folders `seed_N`.
        mode: 'train' trains, resuming if there is a checkpoint, and evaluates; 'eval' evaluates
            the trained parameters.

    Returns:
        The report; for several repeats the first one's, with a summary of all under `repeats`.

    Raises:
        UserError: an invalid config, dataset or workdir.
    """
    return base.run(EXPERIMENTS, name, config, folder, mode)
