"""Instances and bags of multitrack pieces."""

import dataclasses

import numpy as np
import pytest

from irec_jax.crosstalk.activity import FRAME_LENGTH
from irec_jax.data.dataset import Dataset
from irec_jax.data.instances import make_instances
from irec_jax.data.labelled_pieces import LabelledPieces
from irec_jax.data.splits import split_clips
from irec_jax.errors import UserError

RNG = np.random.default_rng(0)
LENGTHS = (10 * FRAME_LENGTH + 5, 2 * FRAME_LENGTH, 7 * FRAME_LENGTH)
PIECES = LabelledPieces(
    names=("a", "b", "c"),
    mixes=tuple(RNG.integers(-9000, 9000, length).astype(np.int16) for length in LENGTHS),
    peaks=np.array([0.5, 0.25, 0.1], np.float32),
    activity=tuple(RNG.random((2, -(-n // FRAME_LENGTH))).astype(np.float32) ** 3 for n in LENGTHS),
)


def instances(indices=(0, 1, 2), *, window=5, label=3, hop=3, complete=False, threshold_db=-10.0):
    return make_instances(
        PIECES,
        list(indices),
        window_samples=window * FRAME_LENGTH,
        label_samples=label * FRAME_LENGTH,
        hop_samples=hop * FRAME_LENGTH,
        complete=complete,
        threshold_db=threshold_db,
    )


def test_windows_and_labels_match_a_loop_with_zeros_around_each_piece():
    clips = instances(threshold_db=-10.0)
    row = 0
    for piece, length in enumerate(LENGTHS):
        padded = np.pad(PIECES.mixes[piece], (FRAME_LENGTH, 9 * FRAME_LENGTH))
        for start in range(0, length, 3 * FRAME_LENGTH):
            frame = start // FRAME_LENGTH
            active = PIECES.activity[piece][:, frame : frame + 3].max(axis=1) >= 10**-0.5
            audio, gain = clips.read(row)
            np.testing.assert_array_equal(audio, padded[start : start + 5 * FRAME_LENGTH])
            assert gain == PIECES.peaks[piece]
            np.testing.assert_array_equal(clips.labels[row], active)
            assert clips.ids[row] == f"{PIECES.names[piece]}@{start}"
            row += 1
    assert row == len(clips)


@pytest.mark.parametrize("label, window", [(1, 1), (3, 3), (3, 9), (4, 20)])
def test_every_frame_of_a_piece_is_in_one_test_instance(label, window):
    clips = instances(label=label, window=window, hop=label)
    for piece, length in zip(PIECES.names, LENGTHS, strict=True):
        count = np.zeros(length, int)
        for name in clips.ids[clips.songs == piece]:
            start = int(name.partition("@")[2])
            count[start : start + label * FRAME_LENGTH] += 1
        assert (count == 1).all()


def test_training_instances_lie_within_their_piece_unless_it_is_shorter():
    clips = instances(hop=1, complete=True)
    starts = {
        piece: [int(n.partition("@")[2]) // FRAME_LENGTH for n in clips.ids[clips.songs == piece]]
        for piece in PIECES.names
    }
    assert starts == {"a": list(range(8)), "b": [0], "c": list(range(5))}


def test_bags_hold_consecutive_instances_of_one_piece_and_the_labels_of_any():
    clips = instances(label=1, window=1, hop=1)  # 11, 2 and 7 instances
    bags = clips.to_bags(3)
    expected = [(0, s) for s in (0, 3, 6, 8)] + [(2, s) for s in (0, 3, 4)]
    first = {0: 0, 2: 13}
    assert len(bags) == len(expected)
    for row, (piece, start) in enumerate(expected):
        members = range(first[piece] + start, first[piece] + start + 3)
        audio = np.concatenate([clips.read(i)[0] for i in members])
        np.testing.assert_array_equal(bags.read(row)[0], audio)
        np.testing.assert_array_equal(bags.labels[row], clips.labels[list(members)].max(axis=0))
        assert bags.songs[row] == PIECES.names[piece]
        assert bags.num_samples[row] == 3 * FRAME_LENGTH


def test_bags_longer_than_every_piece_are_reported():
    with pytest.raises(UserError, match="bag.num_instances=9: the longest piece has 4 instances"):
        instances().to_bags(9)


@pytest.mark.parametrize("fraction, num_validation", [(0.1, 1), (0.5, 2)])
def test_complete_pieces_are_held_out_for_validation(fraction, num_validation):
    dataset = Dataset(
        name="gm_multitrack", version="1", config="", rendered=True, classes=("x", "y"),
        num_classes=2, sample_rate_hz=44_100, train=instances(), test=instances([0]),
    )  # fmt: skip
    settings = dict(label_s=None, validation_fraction=fraction)
    splits = split_clips(dataset, settings, seed=0)
    held_out = set(splits.validation.songs)
    assert len(held_out) == num_validation
    assert len(splits.training) + len(splits.validation) == len(dataset.train)
    assert not held_out & set(splits.training.songs)
    with pytest.raises(UserError, match=r"1 training piece: too few to hold out 10%"):
        split_clips(
            dataclasses.replace(dataset, train=instances([0])),
            settings | dict(validation_fraction=0.1),
            seed=0,
        )
