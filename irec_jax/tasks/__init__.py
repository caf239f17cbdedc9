"""A task binds front end, model and loss; it is all that the training loop knows."""

from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.task import Task

__all__ = ["Recognition", "Task", "create_recognition"]
