"""Errors that a user can correct: commands print the message in one line and exit with 1."""


class UserError(Exception):
    """Invalid input; the message names the file or key and the remedy, in one line."""
