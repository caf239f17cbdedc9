"""Folders that divide a user's files into splits."""

import os

from data_builders.common.archives import subfolders
from irec_jax.errors import UserError

SPLITS = ("train", "test")
#: Other names of splits, which nobody gives to classes or pieces only.
_OTHER_NAMES = ("training", "testing", "valid", "val", "validation", "dev", "eval", "evaluation")


def split_folders(root: str, reason: str = "move or remove it") -> dict[str, str]:
    """Return the names of the folders train and test, in any case, by split.

    Args:
        root: the folder that contains them.
        reason: addition to the error about other folders.

    Returns:
        Split -> name of its folder; nothing if the folder is not divided.

    Raises:
        UserError: another folder next to them, two spellings of one, or only folders with other
            names of splits.
    """
    folders: dict[str, str] = {}
    others = []
    for name in subfolders(root):
        if name.lower() not in SPLITS:
            others.append(name)
        elif name.lower() in folders:
            raise UserError(
                f"{root}: folders {folders[name.lower()]} and {name} are both the split "
                f"{name.lower()}; merge them"
            )
        else:
            folders[name.lower()] = name
    if folders and others:
        raise UserError(
            f"{os.path.join(root, others[0])}: unexpected folder next to train and test; {reason}"
        )
    if others[1:] and all(name.lower() in _OTHER_NAMES for name in others):
        raise UserError(f"{root}: folders {' and '.join(others)}; name them train and test")
    return folders
