"""Recordings with one file per track as training data with labels over time."""

import numpy as np
import pytest
from ml_collections import config_dict
from multitrack_sessions import RATE_HZ, write_sessions

from configs import common
from irec_jax import config, data
from irec_jax.crosstalk import activity
from irec_jax.data import labelled_pieces
from irec_jax.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_sessions(tmp_path_factory.mktemp("sessions"))


def settings(folder, tmp_path, **changes):
    section = common.instances("multitrack", window_s=0.5, validation_fraction=0.5)
    section = section | dict(path=str(folder), dir=str(tmp_path)) | changes
    return config_dict.ConfigDict(section)


def test_labels_of_a_users_recordings_follow_their_tracks(folder, tmp_path):
    dataset = data.load(settings(folder, tmp_path))
    flute, viola = dataset.classes.index("flute"), dataset.classes.index("viola")
    assert len(dataset.train) == 12 and len(dataset.test) == 6
    expected = np.zeros((6, len(dataset.classes)), np.float32)
    expected[:4, flute] = 1  # 0 to 1.8 s
    expected[1:, viola] = 1  # from 0.9 s
    np.testing.assert_array_equal(dataset.test.labels, expected)


def test_pieces_are_measured_once_and_continued_after_an_interrupt(folder, tmp_path, monkeypatch):
    calls, measure = [], activity.track_activity

    def interrupted(*arguments, **options):
        calls.append(options["names"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **options)

    monkeypatch.setattr(labelled_pieces.activity, "track_activity", interrupted)
    with pytest.raises(KeyboardInterrupt):
        data.load(settings(folder, tmp_path))
    first = data.load(settings(folder, tmp_path))
    assert len(calls) == 4  # one piece, the interrupted one, and the two that were missing
    second = data.load(settings(folder, tmp_path, threshold_db=-40.0))
    assert len(calls) == 4
    np.testing.assert_array_equal(first.train.read(3)[0], second.train.read(3)[0])
    assert (second.train.labels >= first.train.labels).all()


def test_mix_is_the_mean_of_its_channels_and_its_peak_the_gain(folder, tmp_path):
    dataset = data.load(settings(folder, tmp_path, reduction=False))
    windows, gains = zip(*(dataset.test.read(i) for i in range(6)), strict=True)
    peak = np.abs(np.concatenate(windows).astype(int)).max()
    assert set(gains) == {np.float32(peak / 32_768)}


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(split="song"), "data.split=song: multitrack has its own training and test pieces"),
        (dict(label_s=0.7), "data.label_s=0.7: expected a positive number of seconds, at most"),
        (dict(channels="separate"), "data.channels=separate: the mix of a piece is mono; set"),
        (dict(threshold_db=1.0), "data.threshold_db=1.0: expected a level below 0 dB"),
    ],
)
def test_invalid_settings_are_reported(folder, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        data.load(settings(folder, tmp_path, **changes))


@pytest.mark.parametrize("name", ["han", "vazonis_lstm", "goel_rnn", "ligtenberg_cnn"])
def test_other_configs_take_multitrack_pieces(name):
    resolved = config.load(f"{name}.py:dataset=gm_multitrack")
    task, _, rate_hz = config.check_config(resolved)
    assert len(task.classes) == 13 and rate_hz == RATE_HZ
