"""Instances from multitrack pieces: short windows with labels that change over time.

An instance is labelled with the instruments whose activity within it reaches a threshold (Seipel
2018, sections 4.3.1 and 4.3.2); see `crosstalk.activity`. Instances are represented as `Clips` with
one window per instance; the `songs` of these clips are the pieces.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import data_builders
from data_builders.common.features import MULTITRACK_FORMATS
from irec_jax.crosstalk import activity
from irec_jax.data.labelled_clips import Clips
from irec_jax.data.labelled_pieces import LabelledPieces, load_labelled
from irec_jax.data.options import builder_arguments
from irec_jax.data.pieces import Pieces
from irec_jax.errors import UserError

#: Split names in multitrack datasets.
_SPLITS = ("train", "test")


def describe_instances(settings: Mapping[str, Any]) -> tuple[tuple[str, ...], int]:
    """Return the class names and sample rate (Hz) of a dataset without preparing it.

    Args:
        settings: the `data` section of a config.

    Raises:
        UserError: unknown option, or settings that contradict each other.
    """
    if "label_s" not in settings:
        raise UserError(
            f"data.name={settings['name']}: this dataset contains multitrack pieces, which need "
            f"other settings; select the dataset with --config=FILE:dataset={settings['name']}"
        )
    if settings["split"] != "official":
        raise UserError(
            f"data.split={settings['split']}: {settings['name']} has its own training and test "
            "pieces; set data.split=official"
        )
    if settings["channels"] != "mean":
        raise UserError(
            f"data.channels={settings['channels']}: the mix of a piece is mono; set "
            "data.channels=mean"
        )
    label_s, window_s = settings["label_s"], settings["window_s"]
    if label_s is not None and not 0 < label_s <= window_s:
        raise UserError(
            f"data.label_s={label_s}: expected a positive number of seconds, at most "
            f"data.window_s={window_s}"
        )
    if not -120 <= settings["threshold_db"] < 0:
        raise UserError(
            f"data.threshold_db={settings['threshold_db']}: expected a level below 0 dB and at "
            "least -120 dB"
        )
    builder = data_builders.builder(settings["name"], **builder_arguments(settings))
    rate_hz = MULTITRACK_FORMATS[builder.builder_config.format]
    return tuple(builder.info.features["instruments"].feature.names), rate_hz


def load_instances(
    settings: Mapping[str, Any],
) -> tuple[Any, Pieces, dict[str, Clips], dict[str, np.ndarray]]:
    """Load a multitrack dataset and divide its pieces into instances.

    Training instances start every `hop_s` seconds and lie within their piece; a piece that is
    shorter than an instance yields one instance. Test instances follow one another without overlap,
    so that every moment of a piece belongs to exactly one instance; a piece's last instance may
    extend beyond its end.

    Args:
        settings: the `data` section of a config. Labels describe the central `label_s` seconds of
            each window. Windows are zero-padded beyond the ends of a piece.

    Returns:
        The prepared builder, all pieces, the instances of each split, and the frame labels of each
        test piece by name: bool (F, K), in frames of `activity.FRAME_LENGTH` samples.

    Raises:
        UserError: see `describe_instances`; missing or unreadable files; no test pieces.
    """
    _, rate_hz = describe_instances(settings)
    builder = data_builders.prepare(settings["name"], **builder_arguments(settings))
    if missing := [split for split in _SPLITS if split not in builder.info.splits]:
        raise UserError(f"{builder.name}: has no {missing[0]} pieces; add some")
    pieces = Pieces(builder, _SPLITS, rate_hz)
    labelled = load_labelled(pieces, builder.data_dir, reduction=settings["reduction"])
    window_samples = round(settings["window_s"] * rate_hz)
    label_samples = round((settings["label_s"] or settings["window_s"]) * rate_hz)
    hop_samples = round((settings["hop_s"] or label_samples / rate_hz) * rate_hz)
    sizes = dict(window_samples=window_samples, label_samples=label_samples)
    frame_labels = {
        name: activity.is_active(played, settings["threshold_db"]).T
        for name, played, split in zip(
            labelled.names, labelled.activity, pieces.splits, strict=True
        )
        if split == "test"
    }
    return (
        builder,
        pieces,
        {
            split: make_instances(
                labelled,
                [i for i, own in enumerate(pieces.splits) if own == split],
                hop_samples=max(1, hop_samples) if split == "train" else label_samples,
                complete=split == "train",
                threshold_db=settings["threshold_db"],
                **sizes,
            )
            for split in _SPLITS
        },
        frame_labels,
    )


def make_instances(
    labelled: LabelledPieces,
    indices: list[int],
    *,
    window_samples: int,
    label_samples: int,
    hop_samples: int,
    complete: bool,
    threshold_db: float,
) -> Clips:
    """Divide pieces into instances, in order.

    Args:
        labelled: the pieces.
        indices: indices of the pieces to use.
        window_samples: window length.
        label_samples: length of the central part of a window, which the labels describe.
        hop_samples: distance between the starts of successive central parts.
        complete: leave out instances that extend beyond the end of a piece, except for the piece's
            first instance.
        threshold_db: minimum level, relative to a track's maximum, at which the track counts as
            playing.
    """
    piece, starts, labels = [], [], []
    num_frames = -(-label_samples // activity.FRAME_LENGTH)
    for i in indices:
        end = len(labelled.mixes[i]) - (label_samples if complete else 1)
        first = np.arange(0, max(0, end) + 1, hop_samples)
        starts.append(first)
        piece.append(np.full(len(first), i))
        frames = first // activity.FRAME_LENGTH
        labels.append(
            activity.instance_labels(labelled.activity[i], frames, num_frames, threshold_db)
        )
    piece_of, start = np.concatenate(piece), np.concatenate(starts)
    context = (window_samples - label_samples) // 2

    def read(i: int) -> tuple[np.ndarray, np.float32]:
        mix, first = labelled.mixes[piece_of[i]], int(start[i]) - context
        window = np.zeros(window_samples, np.int16)
        begin, end = max(0, first), min(len(mix), first + window_samples)
        window[begin - first : end - first] = mix[begin:end]
        return window, np.float32(labelled.peaks[piece_of[i]])

    songs = np.array(labelled.names)[piece_of]
    return Clips(
        ids=np.array([f"{name}@{first}" for name, first in zip(songs, start, strict=True)]),
        songs=songs,
        labels=np.concatenate(labels).astype(np.float32),
        num_samples=np.full(len(start), window_samples, np.int64),
        contradictory=np.zeros(len(start), bool),
        read=read,
    )
