"""Evaluation of recognisers and separators, with baselines and a check for collapse."""
