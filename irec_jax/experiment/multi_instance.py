"""Experiments with recognisers trained on bags of instances."""

from typing import ClassVar

from irec_jax import data
from irec_jax.experiment.recognition import RecognitionExperiment
from irec_jax.tasks import MultiInstance


class MultiInstanceExperiment(RecognitionExperiment):
    """Experiment that trains on bags of consecutive instances, but evaluates single instances."""

    task: MultiInstance
    unit: ClassVar[str] = "bags of windows"

    def batches(self, examples: data.Clips, *, seed: int = 0, shuffle: bool) -> data.Batches:
        settings = self.batch_settings(seed=seed, shuffle=shuffle)
        bags = examples.to_bags(self.task.num_instances)
        settings["window_samples"] = self.task.bag_samples
        return data.Batches(bags, **settings)
