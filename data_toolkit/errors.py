"""What goes wrong with data."""


class DataError(ValueError):
    """Data that cannot be used; the message says what, where, and what to do about it."""
