"""Tasks created from trained systems."""

from collections.abc import Mapping
from typing import Any

from irec_jax.tasks.multi_instance import create_multi_instance
from irec_jax.tasks.recognition import Recognition, create_recognition
from irec_jax.tasks.separation import Separation, create_separation


def create_trained(system: Mapping[str, Any]) -> Recognition | Separation:
    """Create the task of a trained system from the contents of its `system.json`.

    Raises:
        UserError: an unknown name or argument, or settings that contradict each other.
    """
    config = system["config"]
    settings = {key: system[key] for key in ("sample_rate_hz", "window_s", "frontend")}
    settings |= {key: config[key] for key in ("model", "loss", "augment")}
    if system["task"] == "separation":
        return create_separation(stems=system["stems"], target=system["target"], **settings)
    settings |= dict(classes=system["classes"], normalize=config["data"].get("normalize", "peak"))
    if system["task"] == "multi_instance":
        return create_multi_instance(bag=config["bag"], **settings)
    return create_recognition(**settings)
