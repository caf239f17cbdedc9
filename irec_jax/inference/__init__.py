"""Inference with trained models: labels for clips, and separation of recordings of any length."""
