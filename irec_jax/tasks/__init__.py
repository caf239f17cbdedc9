"""Tasks: front end, model and loss as one object, the training loop's only interface."""

from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.separation import Separation, create_separation
from irec_jax.tasks.task import Task

__all__ = ["Recognition", "Separation", "Task", "create_recognition", "create_separation"]
