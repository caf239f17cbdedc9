"""gm_irmas: plan compared with the counts of IRMAS, balance measured on stems, and files."""

import hashlib
from collections import Counter, defaultdict

import numpy as np
import pytest
import soxr

import data_builders
from data_builders.common import rendered
from data_builders.gm_irmas import builder as gm_irmas
from data_builders.gm_irmas import plan as gm_irmas_plan
from data_builders.gm_irmas import render as gm_irmas_clips
from data_builders.rendering import mix, synth
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS

SPLITS = ("train", "test")


def levels_db(clip):
    return {name: mix.active_rms_db(stem) for name, stem in clip.direct.items()}


@pytest.fixture(scope="module")
def train_clips():
    clips = gm_irmas_plan.plan_clips("small", "train")[::16]
    return [gm_irmas_clips.render_clip(clip) for clip in clips]


@pytest.fixture(scope="module")
def test_clips():
    clips = gm_irmas_plan.plan_clips("small", "test")[::31]
    return [gm_irmas_clips.render_clip(clip) for clip in clips]


# The plan


def test_full_size_has_the_counts_of_irmas():
    train, test = (gm_irmas_plan.plan_clips("full", split) for split in SPLITS)
    assert (len(train), len(test)) == (6705, 2874)
    assert Counter(clip.labels[0] for clip in train) == gm_irmas_plan.TRAIN_CLIPS
    assert Counter(label for clip in test for label in clip.labels) == gm_irmas_plan.TEST_LABELS
    assert sum(gm_irmas_plan.TEST_LABELS.values()) == 4917
    sizes = Counter(len(clip.labels) for clip in test)
    assert tuple(sizes[n] for n in range(1, 6)) == gm_irmas_plan.TEST_CLIPS_BY_NUM_LABELS


def test_small_size_keeps_proportions_and_a_minimum_per_class():
    train, test = (gm_irmas_plan.plan_clips("small", split) for split in SPLITS)
    assert len(train) == 1100 and len(test) >= 600
    for label, count in Counter(clip.labels[0] for clip in train).items():
        assert count == pytest.approx(1100 * gm_irmas_plan.TRAIN_CLIPS[label] / 6705, abs=1)
    labels = Counter(name for clip in test for name in clip.labels)
    assert set(labels) == set(IRMAS) and min(labels.values()) >= 25
    shares = np.array(gm_irmas_plan.TEST_CLIPS_BY_NUM_LABELS) / 2874
    sizes = Counter(len(clip.labels) for clip in test)
    np.testing.assert_allclose([sizes[n] / len(test) for n in range(1, 6)], shares, atol=0.002)
    parts = Counter(clip.part for clip in test)
    expected = np.array(gm_irmas_plan.TEST_PARTS) / 2874
    np.testing.assert_allclose([parts[n] / len(test) for n in (1, 2, 3)], expected, atol=0.02)
    songs = Counter(clip.song for clip in train)
    assert 2.8 < np.mean(list(songs.values())) < 3.2


@pytest.mark.parametrize("size", gm_irmas_plan.SIZES)
def test_plans_are_consistent(size):
    train, test = (gm_irmas_plan.plan_clips(size, split) for split in SPLITS)
    assert train == gm_irmas_plan.plan_clips(size, "train") and test == gm_irmas_plan.plan_clips(
        size, "test"
    )
    assert {label for clip in test for label in clip.labels} == set(IRMAS)
    for clips in (train, test):
        assert len({(clip.song, clip.index) for clip in clips}) == len(clips)
        assert all(len(set(clip.labels)) == len(clip.labels) for clip in clips)
    genre_of, part_of, label_of = {}, {}, defaultdict(set)
    for clip in test:
        assert genre_of.setdefault(clip.song, clip.genre) == clip.genre
        assert part_of.setdefault(clip.song, clip.part) == clip.part and 1 <= clip.part <= 3
    for clip in train:
        assert clip.part == 0
        label_of[clip.song] |= set(clip.labels)
    assert all(len(labels) == 1 for labels in label_of.values())
    songs_of = defaultdict(set)
    for clip in train:
        songs_of[clip.labels[0]].add(clip.song)
    assert min(len(songs) for songs in songs_of.values()) >= 2
    assert np.median([len(songs) for songs in songs_of.values()]) >= 3


def test_unknown_size_or_split_is_rejected():
    with pytest.raises(ValueError, match="huge"):
        gm_irmas_plan.plan_clips("huge", "train")
    with pytest.raises(ValueError, match="validation"):
        gm_irmas_plan.plan_clips("tiny", "validation")


@pytest.mark.parametrize("minimum", [0, 3])
def test_apportion_is_exact_and_close_to_the_proportions(minimum):
    rng = np.random.default_rng(0)
    for _ in range(50):
        weights = rng.random(7) ** 3 + 1e-3
        total = int(rng.integers(21, 400))
        counts = np.array(gm_irmas_plan.apportion(total, weights, minimum=minimum))
        assert counts.sum() == total and counts.min() >= minimum
        free = counts > minimum
        ideal = weights[free] / weights[free].sum() * counts[free].sum()
        assert np.abs(counts[free] - ideal).max() < 1.5
    with pytest.raises(ValueError, match="total=5: too small for"):
        gm_irmas_plan.apportion(5, [1.0, 1.0], minimum=3)


# The music


def test_training_clips_have_the_specified_balance(train_clips):
    others, rhythm = [], []
    for clip in train_clips:
        (label,) = clip.labels
        level = levels_db(clip)
        assert clip.mixture.shape == (132_300, 2)
        below = [level[label] - level[name] for name in level if name in IRMAS and name != label]
        if below:
            assert min(below) > 2.9
            others.append(6 <= min(below) <= 16)
        band = [level[label] - level[name] for name in ("bass", "drums") if name in level]
        rhythm.append(bool(band))
        assert all(3 <= difference_db <= 12 for difference_db in band)
    assert 0.4 < len(others) / len(train_clips) < 0.65
    assert np.mean(others) >= 0.5
    assert 0.4 < np.mean(rhythm) < 0.65


def test_test_clips_have_the_specified_balance(test_clips):
    present = []
    for clip in test_clips:
        level = levels_db(clip)
        labelled = [level[label] for label in clip.labels]
        assert max(labelled) - min(labelled) <= 6
        unlabelled = [level[name] for name in level if name in IRMAS and name not in clip.labels]
        assert all(level_db <= min(labelled) - 10 for level_db in unlabelled)
        present.append(bool(unlabelled))
        assert 5 * 44_100 <= len(clip.mixture) <= 20 * 44_100
    assert 0.35 < np.mean(present) < 0.75
    seconds = np.array([len(clip.mixture) / 44_100 for clip in test_clips])
    assert 0.4 < np.mean(seconds > 18) < 0.85 and seconds.min() < 15


def test_labelled_instruments_sound_throughout(train_clips, test_clips):
    for clip in train_clips + test_clips:
        for label in clip.labels:
            stem = clip.direct[label]
            reference_db = mix.active_rms_db(stem)
            seconds = np.array_split(stem, max(1, round(len(stem) / 44_100)))
            is_audible = [
                10 * np.log10(np.mean(second**2) + 1e-12) > reference_db - 20 for second in seconds
            ]
            assert np.mean(is_audible) >= (1.0 if len(seconds) <= 3 else 0.8)
            sounding = sum(end_s - start_s for start_s, end_s in clip.activity[label])
            assert sounding > 0.75 * len(stem) / 44_100


def test_mastering_varies_and_does_not_clip(train_clips, test_clips):
    clips = train_clips + test_clips
    peaks = np.array([np.abs(clip.mixture).max() for clip in clips])
    assert peaks.max() < 1 and peaks.min() > 0.15 and np.std(20 * np.log10(peaks)) > 2
    assert all(np.isfinite(clip.mixture).all() for clip in clips)
    assert all((clip.drums == "yes") == ("drums" in clip.direct) for clip in clips)
    programs = defaultdict(set)
    for clip in clips:
        for label in clip.labels:
            programs[label].add(clip.programs[label])
    for label in ("gac", "gel", "org", "pia", "sax", "tru", "vio", "voi"):
        assert len(programs[label]) >= 2


def test_version_1_0_0_is_frozen():
    # Changed music has another digest and requires a new version. (Only pitches, instruments and
    # labels, which do not depend on the rounding of a machine.)
    music = []
    for split in SPLITS:
        for plan in gm_irmas_plan.plan_clips("small", split)[::50]:
            arrangement = gm_irmas_clips._Arrangement(plan, 0)
            parts = gm_irmas_clips.arrange.compose(
                list(arrangement.musicians.values()),
                arrangement.sheet,
                song_key=gm_irmas_clips._song_key(plan),
                clip_key=arrangement._key,
            )
            for name, part in parts.items():
                music.append(
                    (plan.labels, name, part.instrument.name, arrangement.musicians[name].role)
                )
                music.append(sorted(int(note.pitch) for note in part.notes))
    assert gm_irmas_clips.VERSION == "1.0.0"
    assert hashlib.md5(repr(music).encode()).hexdigest() == "0b6288b75da8fa520499a48a647d1c94"


def test_stems_add_up_to_the_mixture():
    plans = gm_irmas_plan.plan_clips("tiny", "test")
    clip = gm_irmas_clips.render_clip(plans[2], keep_stems=True)
    assert set(clip.stems) == set(clip.direct) >= set(clip.labels)
    noise = clip.mixture - sum(clip.stems.values())
    assert np.mean(noise**2) < 10**-3.4 * np.mean(clip.mixture**2)


def test_clips_of_a_song_differ_but_share_instruments():
    plans = [plan for plan in gm_irmas_plan.plan_clips("small", "train") if plan.song == 40]
    clips = [gm_irmas_clips.render_clip(plan) for plan in plans]
    assert len(clips) >= 2
    assert len({clip.programs[clip.labels[0]] for clip in clips}) == 1
    assert len({clip.drums for clip in clips}) == 1
    assert len({clip.mixture.tobytes() for clip in clips}) == len(clips)


def test_mono_is_the_resampled_mean_of_the_stereo_file():
    (plan,) = [
        clip_plan for clip_plan in gm_irmas_plan.plan_clips("small", "train") if clip_plan.song == 7
    ][:1]
    name, stereo = gm_irmas_clips.render_example((plan, None, 44_100, 2))
    mono_name, mono = gm_irmas_clips.render_example((plan, None, 22_050, 1))
    assert name == mono_name
    assert {k: v for k, v in stereo.items() if k != "audio"} == {
        k: v for k, v in mono.items() if k != "audio"
    }
    assert stereo["audio"].shape == (132_300, 2) and mono["audio"].shape == (66_150, 1)
    mean = stereo["audio"].astype(np.float64).mean(axis=1)
    np.testing.assert_allclose(mono["audio"][:, 0], soxr.resample(mean, 44_100, 22_050), atol=0.6)


# The builder


def build(path, num_workers, config="tiny-mono22k"):
    builder = gm_irmas.GmIrmas(data_dir=path, config=config)
    builder.num_workers = num_workers
    builder.download_and_prepare()
    return builder


@pytest.fixture
def few_clips(monkeypatch):
    """Sizes small enough to build quickly."""
    sizes = {**gm_irmas_plan.SIZES, "tiny": gm_irmas_plan.Size(11, 1, 8, 2, 1)}
    monkeypatch.setattr(gm_irmas_plan, "SIZES", sizes)


def test_files_do_not_depend_on_the_number_of_workers(tmp_path, few_clips):
    digests = []
    for num_workers in (1, 2):
        root = tmp_path / str(num_workers)
        build(root, num_workers)
        files = sorted(root.rglob("*array_record*"))
        assert len(files) >= 2
        digests.append({f.name: hashlib.md5(f.read_bytes()).hexdigest() for f in files})
    assert digests[0] == digests[1]


def test_tiny_dataset():
    # The data that other tests train on, too.
    source = data_builders.prepare("gm_irmas", size="tiny", format="mono22k").as_data_source()
    assert {split: len(source[split]) for split in SPLITS} == {"train": 40, "test": 16}
    ids, songs = defaultdict(set), defaultdict(set)
    for split in SPLITS:
        for example in source[split]:
            assert example["audio"].dtype == np.int16 and example["audio"].shape[1] == 1
            assert np.abs(example["audio"].astype(int)).max() < 32767
            num_samples = len(example["audio"])
            if split == "train":
                assert num_samples == 66_150 and len(example["labels"]) == 1
            else:
                assert 5 * 22_050 <= num_samples <= 20 * 22_050
                assert 1 <= example["part"] <= 3
            assert example["contradictory"] == False  # noqa: E712  (a numpy bool)
            ids[split].add(example["id"])
            songs[split].add(example["song"])
    assert len(ids["train"] | ids["test"]) == 56
    assert not songs["train"] & songs["test"]


def test_soundfont_changes_the_config_name(tmp_path):
    with pytest.raises(UserError, match="none.sf2"):
        rendered.make_config("tiny", "mono22k", soundfont=str(tmp_path / "none.sf2"))
    font = synth.default_soundfont()
    config = rendered.make_config("tiny", "mono22k", soundfont=str(font))
    assert config.name.startswith("tiny-mono22k-TimGM6mb-")
    names = [builder_config.name for builder_config in gm_irmas.GmIrmas.BUILDER_CONFIGS]
    assert names == ["tiny-stereo44k", "tiny-mono22k", "small-stereo44k", "small-mono22k",
                     "full-stereo44k", "full-mono22k"]  # fmt: skip
