"""Many runs with one command: python -m solvers.sweep sweeps/table1.toml."""
