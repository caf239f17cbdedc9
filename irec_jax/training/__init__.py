"""Optimisation: optimisers, the step and its parallel form, checkpoints, the loop."""
