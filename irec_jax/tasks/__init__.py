"""A task binds front end, model and loss; it is all that the training loop knows."""

from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.separation import Separation, create_separation
from irec_jax.tasks.task import Task

__all__ = ["Recognition", "Separation", "Task", "create_recognition", "create_separation"]
