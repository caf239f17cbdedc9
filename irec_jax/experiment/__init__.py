"""An experiment: from a config to a trained system and its report in a workdir."""

from pathlib import Path

from ml_collections import config_dict

from irec_jax.experiment import base
from irec_jax.experiment.recognition import RecognitionExperiment
from irec_jax.experiment.separation import SeparationExperiment

__all__ = ["EXPERIMENTS", "RecognitionExperiment", "SeparationExperiment", "run"]

EXPERIMENTS = {"recognition": RecognitionExperiment, "separation": SeparationExperiment}


def run(name: str, config: config_dict.ConfigDict, folder: Path, mode: str) -> dict:
    """Trains (or takes what was trained) and evaluates every repeat.

    Args:
        name: of the config, such as 'han'.
        config: resolved and locked.
        folder: the workdir; repeats go to `seed_N` folders in it.
        mode: 'train' trains, resuming if need be, and evaluates; 'eval' only evaluates.

    Returns:
        The report; of repeats the first one's, with the summary of all under `repeats`.

    Raises:
        UserError: whatever a user can mend.
    """
    return base.run(EXPERIMENTS, name, config, folder, mode)
