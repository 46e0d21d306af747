"""Compare the results of runs with the published ones, in tables, curves and charts."""
