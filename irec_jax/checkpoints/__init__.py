"""Trained systems on disk: checkpoints, `system.json` and workdirs."""
