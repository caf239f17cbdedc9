"""Training: optimisers, parallel training steps, the training loop, logging and profiling."""
