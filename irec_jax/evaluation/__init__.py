"""Evaluation of recognisers and separators, baselines, and a check for collapsed recognisers."""
