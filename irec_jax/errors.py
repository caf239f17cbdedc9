"""Errors that a user can correct: commands print a one-line message and exit with code 1."""

from irec_jax.text import one_line


class UserError(Exception):
    """An error in the user's input; the one-line message names the file or key and the remedy.

    Line breaks in the message become spaces, and unprintable characters become "�".
    """

    def __init__(self, message: object):
        super().__init__(one_line(str(message)))
