"""Validation sets that share no song with the training set."""

import numpy as np

from irec_jax.errors import UserError


def split_songs(
    songs: np.ndarray, labels: np.ndarray, *, fraction: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Parts whole songs into training and validation, class by class.

    Songs are taken in random order into the validation set as long as no class gets more than
    its share there; so each class has close to `fraction` of its clips in it.

    Args:
        songs: (N,) song of each clip.
        labels: (N, K) multi-hot.
        fraction: share of the clips that validate, between 0 and 1.
        seed: of the random order.

    Returns:
        Indices of the training and of the validation clips, ascending.

    Raises:
        UserError: nothing would be left on one of the sides.
    """
    if not 0.0 < fraction < 1.0:
        raise UserError(f"config key data.validation_fraction={fraction}: between 0 and 1, please")
    unique, song_of_clip = np.unique(songs, return_inverse=True)
    per_song = np.zeros((len(unique), labels.shape[1]))
    np.add.at(per_song, song_of_clip, labels)
    # A class of few songs gives its smallest one, so that no class goes unvalidated.
    smallest = np.where(per_song > 0, per_song, np.inf).min(axis=0, initial=np.inf)
    share = np.maximum(fraction * per_song.sum(axis=0), smallest)
    share = np.where((per_song > 0).sum(axis=0) > 1, share, 0.0)
    taken = np.zeros(labels.shape[1])
    chosen = np.zeros(len(unique), bool)
    for song in np.random.default_rng([seed, 0x5EED]).permutation(len(unique)):
        if np.all(taken + per_song[song] <= share + 1e-9):
            taken += per_song[song]
            chosen[song] = True
    validation = chosen[song_of_clip]
    if validation.all() or not validation.any():
        raise UserError(
            f"{len(unique)} song(s) are too few to set {fraction:.0%} of the clips aside for "
            "validation: bring more songs per class"
        )
    return np.flatnonzero(~validation), np.flatnonzero(validation)
