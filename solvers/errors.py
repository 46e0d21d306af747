"""The error of nets, solvers and runs. How commands report an error is in base/errors.py, for all commands alike."""

from base.errors import CommandLine, failed

__all__ = ["CommandLine", "SolverError", "failed"]


class SolverError(ValueError):
    """Raised for input that a command cannot use. Its text is the whole message for the user."""
