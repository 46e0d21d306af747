"""What goes wrong with nets, solvers and runs; how commands fail is data_toolkit's, as it is of all commands."""

from base.errors import CommandLine, failed

__all__ = ["CommandLine", "SolverError", "failed"]


class SolverError(ValueError):
    """Input that a command cannot work with. Its text is the whole message."""
