"""Evaluation of predictions over a split, baselines for comparison, and the collapse check."""
