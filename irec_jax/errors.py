"""Errors that a user can correct: commands print the message in one line and exit with 1."""

from irec_jax.text import one_line


class UserError(Exception):
    """Invalid input; the message names the file or key and the remedy, in one line.

    Line breaks in the message become spaces, and characters that cannot be printed "�".
    """

    def __init__(self, message: object):
        super().__init__(one_line(str(message)))
