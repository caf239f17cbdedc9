"""Trained parameters on disk: checkpoints, `system.json` and workdirs."""
