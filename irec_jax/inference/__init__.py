"""Inference with trained models: decisions about clips, and separated signals of any length."""
