"""Folders that divide a user's files into splits."""

import os

from data_builders.common.archives import subfolders
from irec_jax.errors import UserError

SPLITS = ("train", "test")
#: Other common split names. It is an error if there are several folders and all have such names.
_OTHER_NAMES = ("training", "testing", "valid", "val", "validation", "dev", "eval", "evaluation")


def split_folders(root: str, reason: str = "move or remove it") -> dict[str, str]:
    """Find the train and test folders within a folder, ignoring case.

    Args:
        root: folder that contains the train and test folders.
        reason: end of the error message about other folders.

    Returns:
        Split -> name of its folder; empty if the files are not divided.

    Raises:
        UserError: if there are other folders next to train and test, two folders for the same
            split, or several folders that all have other split names.
    """
    folders: dict[str, str] = {}
    others = []
    for name in subfolders(root):
        if name.lower() not in SPLITS:
            others.append(name)
        elif name.lower() in folders:
            raise UserError(
                f"{root}: folders {folders[name.lower()]} and {name} both belong to the "
                f"{name.lower()} split; merge them"
            )
        else:
            folders[name.lower()] = name
    if folders and others:
        raise UserError(
            f"{os.path.join(root, others[0])}: unexpected folder next to train and test; {reason}"
        )
    if others[1:] and all(name.lower() in _OTHER_NAMES for name in others):
        raise UserError(f"{root}: folders {' and '.join(others)}; rename them to train and test")
    return folders
