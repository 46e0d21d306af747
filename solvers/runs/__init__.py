"""The folder of a run: configuration, checkpoints, logs, learning dynamics."""
