"""What only training needs: its options, labels, GPUs, tests between steps, divergence."""
