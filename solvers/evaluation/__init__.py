"""The nets that measure checkpoints, and what was measured."""
