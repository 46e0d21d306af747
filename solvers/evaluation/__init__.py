"""Build the nets that measure checkpoints, compute their results, and keep them."""
