"""The parts that only training needs: options, the loop of steps, GPUs, tests between steps, the check for divergence."""
