"""Predictions over a split to a report: numbers, tables and figures, with their provenance."""
