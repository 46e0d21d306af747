"""Numbers of runs beside the published ones: tables, curves, charts."""
