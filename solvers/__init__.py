"""Run a setting, measure its checkpoints, set it against the published runs: train.py, evaluate.py, compare.py."""
