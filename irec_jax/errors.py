"""Errors that a user can mend: commands print their message as one line and exit with 1."""


class UserError(Exception):
    """Bad input, named with its file or key and the remedy, in one line."""
