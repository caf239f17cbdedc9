"""Errors that a user can correct: commands print the message in one line and exit with 1."""


class UserError(Exception):
    """Invalid input; the message names the file or key and the remedy, in one line.

    Line breaks and other characters that cannot be printed, in names of files for example, are
    replaced.
    """

    def __init__(self, message: str):
        super().__init__(
            "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in message)
        )
