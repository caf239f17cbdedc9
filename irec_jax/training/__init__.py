"""Training: optimisers, the step and its parallel form, the loop, logging and profiling."""
