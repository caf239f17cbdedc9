"""Tasks, which combine a front end, a model and a loss for the training loop."""

from irec_jax.tasks.multi_instance import MultiInstance, create_multi_instance
from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.separation import Separation, create_separation
from irec_jax.tasks.task import Task
from irec_jax.tasks.trained import create_trained

__all__ = [
    "MultiInstance",
    "Recognition",
    "Separation",
    "Task",
    "create_multi_instance",
    "create_recognition",
    "create_separation",
    "create_trained",
]
