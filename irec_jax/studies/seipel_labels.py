"""Quality of labels derived from spot microphones, compared with the notes of rendered pieces.

The activity of every track is measured in the dry tracks and in spot-microphone signals with
simulated crosstalk (in a free field and in a room, with and without crosstalk reduction). Instances
of one or more frames are labelled by thresholds chosen on training pieces, and the labels of test
pieces are compared with the composed notes.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from irec_jax import crosstalk
from irec_jax.crosstalk import activity
from irec_jax.data import Pieces
from irec_jax.evaluation import pieces as piece_evaluation
from irec_jax.files import atomic_write, seekable
from irec_jax.inference import thresholds
from irec_jax.studies.crosstalk import simulate
from irec_jax.studies.published import seipel as published
from irec_jax.training.logging import duration

#: Frames per instance: a single frame, and the shortest and the best length in the thesis.
FRAMES = (1, published.FRAMES[0], published.BEST_FRAMES)
#: Frames per instance for the curves that show F1 against the threshold.
CURVE_FRAMES = 16
#: Candidate thresholds in dB, relative to the maximum activity of a track.
GRID_DB = tuple(float(db) for db in range(-60, -2))
_METHODS: Mapping[str, crosstalk.Settings | None] = {
    "unreduced": None,
    "reduced": crosstalk.Settings(),
}


def condition(room: str, level_db: int) -> str:
    """Return the name of a condition, such as 'free field, -6 dB'."""
    return f"{room}, {level_db} dB"


def study(
    training: Pieces,
    test: Pieces,
    folder: Path,
    *,
    levels_db: Sequence[int],
    decay_s: float,
    seed: int,
) -> dict:
    """Score the labels of test pieces, using thresholds chosen on training pieces.

    The activities are cached in `folder`, with one file per piece.

    Args:
        training, test: pieces with dry tracks and composed notes.
        folder: folder for the cached activities.
        levels_db: maximum levels of the simulated crosstalk in dB.
        decay_s: reverberation time of the room in seconds.
        seed: seed for the mixing matrices.

    Returns:
        A dict with these keys:

        - ``num_pieces``: numbers of training and test pieces.
        - ``stems``: results for labels from the dry tracks. Maps the number of frames per instance
          to ``threshold_db`` and ``scores`` (see `evaluation.pieces.piece_scores`).
        - ``conditions``: maps each `condition` and number of frames to results of the same kind
          for ``unreduced`` and ``reduced``, and to their ``difference``, reduced minus unreduced
          (see `paired_difference`).
        - ``curves``: ``thresholds_db``, and the ``f1`` at these thresholds for the dry tracks and
          for each condition and method, computed from the pooled instances of the test pieces and
          averaged over classes.
    """
    rooms = {"free field": 0.0, "room": decay_s}
    options: dict[str, Any] = dict(rooms=rooms, levels_db=levels_db, seed=seed)
    measured = [_measure_all(pieces, folder, **options) for pieces in (training, test)]
    classes = test.classes
    result: dict = {
        "num_pieces": [len(training), len(test)],
        "stems": {str(frames): _score(measured, "stems", frames, classes)[0] for frames in FRAMES},
        "conditions": {},
        "curves": {"thresholds_db": list(GRID_DB), "f1": {}},
    }
    curves = result["curves"]["f1"]
    curves["dry tracks"] = _curve(measured[1], "stems")
    for name in (condition(room, level) for room in rooms for level in levels_db):
        result["conditions"][name] = {
            str(frames): _compare(measured, name, frames, classes) for frames in FRAMES
        }
        for method in _METHODS:
            curves[f"{name}, {method}"] = _curve(measured[1], f"{name}, {method}")
    return result


def _measure_all(
    pieces: Pieces, folder: Path, *, rooms: Mapping[str, float], **options
) -> dict[str, dict[str, np.ndarray]]:
    """Return the activities of all pieces, by piece name; see `measure`."""
    began, num_done, measured = time.monotonic(), 0, {}
    for index, name in enumerate(pieces.names):
        file = folder / f"{name.replace('/', '_')}.npz"
        if not file.exists():
            arrays = measure(pieces, index, rooms=rooms, **options)
            with atomic_write(file) as path, open(path, "wb") as opened:
                np.savez(opened, allow_pickle=False, **arrays)
            num_done += 1
            left_s = (time.monotonic() - began) / num_done * (len(pieces) - index - 1)
            print(f"labels for {name}: done; about {duration(left_s)} left", flush=True)
        with np.load(seekable(file)) as arrays:
            measured[name] = dict(arrays)
    return measured


def measure(
    pieces: Pieces, index: int, *, rooms: Mapping[str, float], levels_db: Sequence[int], seed: int
) -> dict[str, np.ndarray]:
    """Measure the activities of a piece in all conditions.

    Args:
        pieces, index: dataset, and index of a piece with dry tracks and composed notes.
        rooms: room name -> reverberation time in seconds, 0 for a free field.
        levels_db, seed: as for `study`.

    Returns:
        Arrays by name: ``notes`` bool (K, F), True where a class has a note; ``stems`` float32
        (K, F), the activity in the dry tracks; and 'CONDITION, METHOD' float32 (K, F), the activity
        in each condition with each method (unreduced or reduced).
    """
    piece = pieces[index]
    assert piece.stems is not None  # the study uses rendered pieces only
    notes = pieces.note_activity(index, frame_length=activity.FRAME_LENGTH)
    assert notes is not None

    def by_class(tracks: Float[np.ndarray, "tracks frames"]) -> Float[np.ndarray, "classes frames"]:
        return activity.class_activity(tracks, piece.instruments, pieces.classes)

    def measure_tracks(tracks: np.ndarray, settings: crosstalk.Settings | None) -> np.ndarray:
        return by_class(
            activity.track_activity(
                lambda: [tracks],
                settings,
                num_samples=tracks.shape[1],
                sample_rate_hz=piece.sample_rate_hz,
                names=piece.tracks,
            )
        )

    arrays = {
        "notes": by_class(notes.astype(np.float32)) > 0,
        "stems": measure_tracks(piece.stems, None),
    }
    for room, decay_s in rooms.items():
        for level_db in levels_db:
            spots, _, _ = simulate(piece, piece.stems, level_db, seed=seed, decay_s=decay_s)
            for method, settings in _METHODS.items():
                name = f"{condition(room, level_db)}, {method}"
                arrays[name] = measure_tracks(spots, settings)
    return arrays


def instances(
    frames: Float[np.ndarray, "classes frames"] | Bool[np.ndarray, "classes frames"], length: int
) -> np.ndarray:
    """Return the maximum (N, K) of each class in consecutive instances of ``length`` frames.

    The last instance may be shorter.
    """
    return np.maximum.reduceat(frames, np.arange(0, frames.shape[1], length), axis=1).T


def _pool(
    measured: Mapping[str, Mapping[str, np.ndarray]], key: str, length: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the labels (N, K), scores (N, K) and piece names of all instances in a split."""
    labels = [instances(arrays["notes"], length) for arrays in measured.values()]
    scores = [instances(arrays[key], length) for arrays in measured.values()]
    names = [name for name, part in zip(measured, labels, strict=True) for _ in part]
    return np.concatenate(labels), np.concatenate(scores), names


def _amplitudes(levels_db: Sequence[float]) -> np.ndarray:
    return 10 ** (np.asarray(levels_db) / 20)


def _curve(measured: Mapping[str, Mapping[str, np.ndarray]], key: str) -> list[float]:
    labels, scores, _ = _pool(measured, key, CURVE_FRAMES)
    return sweep(labels, scores).tolist()


def sweep(
    labels: Bool[np.ndarray, "instances classes"], scores: Float[np.ndarray, "instances classes"]
) -> Float[np.ndarray, " thresholds"]:
    """Return the F1 at each threshold of `GRID_DB`, averaged over the classes that occur."""
    f1 = thresholds.sweep(labels, scores, _amplitudes(GRID_DB).tolist()).per_class
    return f1[:, labels.any(0)].mean(1)


def _score(
    measured: Sequence[Mapping[str, Mapping[str, np.ndarray]]],
    key: str,
    length: int,
    classes: Sequence[str],
) -> tuple[dict, np.ndarray, float]:
    """Return the scores of the test labels, the test activities (N, K) and the linear threshold."""
    labels, scores, _ = _pool(measured[0], key, length)
    threshold_db = GRID_DB[int(sweep(labels, scores).argmax())]
    labels, scores, names = _pool(measured[1], key, length)
    threshold = float(_amplitudes([threshold_db])[0])
    block = {
        "threshold_db": threshold_db,
        "scores": piece_evaluation.piece_scores(
            labels, scores, names, classes, threshold=threshold
        ),
    }
    return block, scores, threshold


def _compare(
    measured: Sequence[Mapping[str, Mapping[str, np.ndarray]]],
    name: str,
    length: int,
    classes: Sequence[str],
) -> dict:
    """Return the scores with and without crosstalk reduction, and their difference."""
    labels, _, names = _pool(measured[1], "stems", length)
    blocks, activities, levels = {}, [], []
    for method in ("reduced", "unreduced"):
        scored = _score(measured, f"{name}, {method}", length, classes)
        blocks[method] = scored[0]
        activities.append(scored[1])
        levels.append(scored[2])
    blocks["difference"] = piece_evaluation.paired_difference(
        labels, activities[0], activities[1], names, classes, thresholds=(levels[0], levels[1])
    )
    return blocks
