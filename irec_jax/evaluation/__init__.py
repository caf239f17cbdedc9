"""Scores of predictions over a split, baselines, the collapse check, and provenance."""
