"""gm_multitrack: plan compared with Seipel's counts, music, measured levels, and files."""

import hashlib
from collections import Counter

import numpy as np
import pytest
import scipy.signal

import data_builders
from data_builders.common import multitrack as multitrack_base
from data_builders.gm_multitrack import builder as gm_multitrack
from data_builders.gm_multitrack import plan as gm_multitrack_plan
from data_builders.gm_multitrack import render as gm_multitrack_pieces
from data_builders.rendering import mix, synth
from irec_jax import audio, crosstalk, data
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.labels import ORCHESTRA
from irec_jax.main import main

SPLITS = ("train", "test")
RATE = 44_100


def plans(size):
    return [piece for split in SPLITS for piece in gm_multitrack_plan.plan_pieces(size, split)]


# The plan


def test_full_size_has_the_counts_of_seipel():
    train, test = (gm_multitrack_plan.plan_pieces("full", split) for split in SPLITS)
    assert (len(train), len(test)) == (92, 23)
    counts = Counter(label for piece in train + test for label in set(dict(piece.tracks).values()))
    published = gm_multitrack_plan.SEIPEL_PIECES
    assert set(counts) == set(published) == set(ORCHESTRA)
    for label, count in published.items():
        assert counts[label] == pytest.approx(count * 115 / 116, abs=5)
    assert np.mean([abs(counts[label] - count) for label, count in published.items()]) < 1.0


def test_long_size_has_all_classes_in_both_splits_in_pieces_of_minutes():
    train, test = (gm_multitrack_plan.plan_pieces("long", split) for split in SPLITS)
    assert (len(train), len(test)) == (20, 6)
    for pieces, fewest in ((train, 4), (test, 2)):
        counts = Counter(label for piece in pieces for label in set(dict(piece.tracks).values()))
        assert set(counts) == set(ORCHESTRA) and min(counts.values()) >= fewest
    for piece in train + test:
        duration_s = gm_multitrack_pieces.count_samples(piece) / RATE
        assert 120 <= duration_s <= (150 if len(piece.tracks) >= 9 else 300)


def test_small_and_tiny_sizes():
    train, test = (gm_multitrack_plan.plan_pieces("small", split) for split in SPLITS)
    assert (len(train), len(test)) == (24, 10)
    large = [sorted(len(p.tracks) for p in pieces if len(p.tracks) > 8) for pieces in (train, test)]
    assert len(large[0]) >= 4 and large[1] == [9, 11, 13, 14]
    tiny = [gm_multitrack_plan.plan_pieces("tiny", split) for split in SPLITS]
    assert [len(pieces) for pieces in tiny] == [4, 2]
    for pieces in (train, test, tiny[0]):
        assert {label for piece in pieces for _, label in piece.tracks} == set(ORCHESTRA)


@pytest.mark.parametrize("size", gm_multitrack_plan.SIZES)
def test_plans_are_consistent(size):
    pieces = plans(size)
    assert pieces == plans(size)
    assert len({piece.name for piece in pieces}) == len(pieces)
    for piece in pieces:
        names = [name for name, _ in piece.tracks]
        assert len(set(names)) == len(names) and 3 <= len(names) <= 14
        assert list(multitrack_base.sort_tracks(piece.tracks[::-1], ORCHESTRA)) == names
        longest_s = 300 if size == "long" else 60
        assert 12 <= piece.max_duration_s <= longest_s and piece.max_crosstalk_db in (-6, -12, -18)
    with pytest.raises(ValueError, match="huge"):
        gm_multitrack_plan.plan_pieces("huge", "train")
    with pytest.raises(ValueError, match="validation"):
        gm_multitrack_plan.plan_pieces(size, "validation")


# The music


@pytest.fixture(scope="module")
def scores():
    return [(piece, gm_multitrack_pieces.compose(piece)) for piece in plans("full")]


def test_players_play_in_their_phrases_and_rest_in_others(scores):
    playing, num_without_rests = [], 0
    for piece, score in scores:
        names = {name for name, _ in piece.tracks}
        assert set(score.parts) == names == set(score.roles[-1])
        assert all(part.notes for part in score.parts.values())
        for phrase, roles in enumerate(score.roles):
            assert 2 <= len(roles) <= len(names) and set(roles) <= names
            assert list(roles.values()).count("lead") == 1
            first, end = (bar * score.sheet.metre.beats for bar in score.phrases[phrase])
            span = [score.sheet.seconds(beat) for beat in (first, end)]
            for name in names - set(roles):
                # Onsets deviate from the beat.
                inside = [n for n in score.parts[name].notes if _within(n.onset_s, span)]
                assert not inside
            playing.append(len(roles) / len(names))
        counts = Counter(name for roles in score.roles for name in roles)
        num_without_rests += sum(counts[name] < len(score.roles) for name in names) < 2
    assert 0.55 < np.mean(playing) < 0.85
    assert num_without_rests < 0.1 * len(scores)


def _within(onset_s, span, margin_s=0.12):
    return span[0] + margin_s < onset_s < span[1] - margin_s


def test_pieces_fill_their_duration_and_end_on_the_tonic(scores):
    for piece, score in scores:
        assert 0.7 * piece.max_duration_s < score.duration_s <= piece.max_duration_s
        starts, ends = zip(*score.phrases, strict=True)
        assert starts == (0, *ends[:-1]) and ends[-1] == len(score.sheet.bars)
        last = score.sheet.bars[-1]
        assert [chord.root for chord in last] == [score.sheet.tonic]
        end_s = score.sheet.seconds(score.sheet.num_beats)
        for part in score.parts.values():
            assert (
                end_s - 1.5 * score.sheet.beat_s * score.sheet.metre.beats < part.notes[-1].onset_s
            )
            assert max(note.onset_s + note.duration_s for note in part.notes) < score.duration_s


def test_parts_are_idiomatic(scores):
    pitches = {label: [] for label in ORCHESTRA}
    leads, basses = Counter(), Counter()
    for piece, score in scores:
        for name, label in piece.tracks:
            part = score.parts[name]
            part_pitches = [note.pitch for note in part.notes]
            assert (
                min(part_pitches) >= part.instrument.low
                and max(part_pitches) <= part.instrument.high
            )
            pitches[label] += part_pitches
            if label != "piano":  # one note at a time
                onsets = np.array([note.onset_s for note in part.notes])
                assert np.diff(onsets).min() > 0
            leads[label] += sum(roles.get(name) == "lead" for roles in score.roles)
            basses[label] += sum(roles.get(name) == "bass" for roles in score.roles)
    middle = {label: np.median(part_pitches) for label, part_pitches in pitches.items()}
    order = ("double_bass", "violoncello", "viola", "violin")
    assert [*order] == sorted(order, key=middle.get)
    assert middle["tuba"] < middle["trombone"] < middle["trumpet"]
    assert middle["bassoon"] < middle["clarinet"] < middle["flute"]
    assert leads["violin"] == max(leads.values()) and min(leads["double_bass"], leads["tuba"]) < 40
    assert basses["double_bass"] > 2 * leads["double_bass"]
    assert set(label for label, count in basses.items() if count) == {
        *("double_bass", "tuba", "violoncello", "bassoon", "trombone")
    }


def test_pieces_of_an_ensemble_differ(scores):
    previous = set()
    for _, score in scores:
        notes = tuple(part.notes for part in score.parts.values())
        assert notes not in previous
        previous.add(notes)


def test_version_1_0_0_is_frozen():
    # Changed music has another digest and requires a new version. (Only pitches and roles, which
    # do not depend on the rounding of a machine.)
    music = []
    for piece in plans("small")[::3]:
        score = gm_multitrack_pieces.compose(piece)
        music.append((piece.name, piece.tracks, piece.max_crosstalk_db, score.phrases, score.roles))
        music += [[int(note.pitch) for note in p.notes] for p in score.parts.values()]
    assert gm_multitrack_pieces.VERSION == "1.0.0"
    assert hashlib.md5(repr(music).encode()).hexdigest() == "5a437dc40e003bdf1c19aec43101a487"


# The sound


@pytest.fixture(scope="module")
def folder(data_folder):
    return str(data_folder)


@pytest.fixture(scope="module")
def tiny(folder):
    """Both splits of size tiny."""
    return [data.load_pieces("gm_multitrack", s, size="tiny", data_dir=folder) for s in SPLITS]


def test_tiny_dataset(tiny):
    train, test = tiny
    assert train.full_name == "gm_multitrack/tiny-multitrack44k:1.0.0" and train.rendered
    assert train.classes == ORCHESTRA
    assert (train.num_tracks, test.num_tracks) == ((3, 5, 5, 5), (4, 9))
    for split, pieces in zip(SPLITS, tiny, strict=True):
        for piece, planned in zip(
            pieces, gm_multitrack_plan.plan_pieces("tiny", split), strict=True
        ):
            assert piece.name == planned.name and piece.sample_rate_hz == RATE
            assert tuple(zip(piece.tracks, piece.instruments, strict=True)) == planned.tracks
            num_samples = len(piece.mix)
            assert piece.stems.shape == piece.spots.shape == (len(piece.tracks), num_samples)
            assert piece.stems.dtype == piece.mix.dtype == np.float32
            assert num_samples in pieces.num_samples


def test_levels_are_normalised_and_balanced(tiny):
    active = []
    for piece in (one for pieces in tiny for one in pieces):
        for audio_of_piece in (piece.stems, piece.mix):
            assert 20 * np.log10(np.abs(audio_of_piece).max()) == pytest.approx(-1.0, abs=0.01)
        assert np.abs(piece.spots).max() == pytest.approx(1.0, abs=1e-4)
        levels_db = [mix.active_rms_db(stem[:, None]) for stem in piece.stems]
        assert min(levels_db) > -40 and max(levels_db) - min(levels_db) < 12
        active += [mix.active_frames(stem[:, None]).mean() for stem in piece.stems]
        correlations = np.abs(np.corrcoef(piece.stems)) - np.eye(len(piece.stems))
        assert correlations.max() < 0.5
        assert np.abs(piece.stems.mean(axis=1)).max() < 1e-4  # no DC offset
        # Pieces end in silence, not during a note.
        assert np.abs(piece.stems[:, -441:]).max() < 0.05
        assert not np.array_equal(piece.mix[:, 0], piece.mix[:, 1])
    assert 0.4 < np.mean(active) < 0.9 and min(active) < 0.6


def test_spots_are_the_stems_with_crosstalk(tiny):
    piece = tiny[1][1]
    num_tracks = len(piece.tracks)
    crosstalk_gains = piece.mixing[~np.eye(num_tracks, dtype=bool)]
    np.testing.assert_array_equal(piece.mixing, piece.mixing.T)
    np.testing.assert_array_equal(np.diag(piece.mixing), 1)
    bound = 10 ** (piece.max_crosstalk_db / 20)
    assert 0 < crosstalk_gains.min() and 0.5 * bound < crosstalk_gains.max() <= bound
    delays = crosstalk.delays_samples(piece.mixing, RATE)
    expected = np.zeros(piece.stems.shape)
    for l in range(num_tracks):  # noqa: E741
        for j in range(num_tracks):
            delay, length = delays[l, j], piece.stems.shape[1]
            expected[l, delay:] += piece.mixing[l, j] * piece.stems[j, : length - delay]
    np.testing.assert_allclose(piece.spots, expected / np.abs(expected).max(), atol=5e-5)


def test_stems_are_dry_and_the_mix_is_reverberant(tiny):
    piece = tiny[0][0]
    # Reverberation continues after the last note.
    end = np.flatnonzero(np.abs(piece.stems).max(axis=0) > 0.01)[-1]
    mono = piece.mix.mean(axis=1)
    levels = [np.sqrt(np.mean(x[end + 2205 : end + 8820] ** 2)) for x in (mono, piece.stems.sum(0))]
    assert levels[0] > 2 * levels[1]
    # The mix contains all stems, without a delay.
    for stem in piece.stems:
        peak = np.argmax(np.abs(scipy.signal.correlate(mono, stem, "same", "fft")))
        assert abs(peak - len(mono) // 2) < 50


def build(path, num_workers, form="multitrack44k"):
    builder = gm_multitrack.GmMultitrack(data_dir=path, config=f"tiny-{form}")
    builder.num_workers = num_workers
    builder.download_and_prepare()
    return builder


@pytest.fixture
def few_pieces(monkeypatch):
    """Sizes small enough to build quickly."""
    ensembles = {
        name: gm_multitrack_plan.ENSEMBLES[name]._replace(tiny=counts)
        for name, counts in (("string_trio", (1, 0)), ("horn_trio", (0, 1)))
    }
    durations_s = {"tiny": ((12.0, 12.0), (12.0, 12.0))}
    monkeypatch.setattr(gm_multitrack_plan, "ENSEMBLES", ensembles)
    monkeypatch.setattr(gm_multitrack_plan, "DURATIONS_S", durations_s)


def test_files_do_not_depend_on_the_number_of_workers(tmp_path, few_pieces):
    digests = []
    for num_workers in (1, 2):
        build(tmp_path / str(num_workers), num_workers)
        files = sorted((tmp_path / str(num_workers)).rglob("*array_record*"))
        assert len(files) == 2
        digests.append([hashlib.md5(file.read_bytes()).hexdigest() for file in files])
    assert digests[0] == digests[1]


@pytest.mark.parametrize("form", ["multitrack44k", "multitrack48k"])
def test_long_pieces_are_segmented(tmp_path, few_pieces, monkeypatch, form):
    monkeypatch.setattr(gm_multitrack, "SEGMENT_S", 5)
    builder = build(tmp_path, 1, form)
    (piece,) = gm_multitrack_plan.plan_pieces("tiny", "test")
    rate = int(form[-3:-1]) * 1000 + 100 * form.endswith("44k")
    stems, mixture = gm_multitrack_pieces.render_example((piece, None, rate))
    spots, mixing = gm_multitrack.simulate_spots(stems, piece, rate)
    rows = builder.index("test")
    assert gm_multitrack_pieces.count_samples(piece, rate) == len(mixture)
    assert builder._num_examples("test") == len(rows) == -(-len(mixture) // (5 * rate)) == 3
    assert [row["num_samples"] for row in rows[:2]] == [5 * rate] * 2
    assert [row["segment"] for row in rows] == [0, 1, 2]
    assert [example["start_s"] for example in builder.as_data_source("test")] == [0, 5, 10]
    (loaded,) = data.Pieces(builder, ["test"], rate)
    np.testing.assert_array_equal(audio.to_int16(loaded.mix), mixture)
    np.testing.assert_array_equal(audio.to_int16(loaded.stems), stems)
    np.testing.assert_array_equal(audio.to_int16(loaded.spots), spots)
    np.testing.assert_array_equal(loaded.mixing, mixing)


def test_48_khz_version_has_the_same_music(few_pieces):
    (piece,) = gm_multitrack_plan.plan_pieces("tiny", "test")
    stems, mixture = gm_multitrack_pieces.render_example((piece, None, RATE))
    faster, mixture48 = gm_multitrack_pieces.render_example((piece, None, 48_000))
    assert len(mixture48) == faster.shape[1] == audio.num_resampled(stems.shape[1], RATE, 48_000)
    expected = audio.resample(stems.T.astype(np.float32), RATE, 48_000).T
    gain = (expected * faster).sum() / (expected**2).sum()
    assert abs(20 * np.log10(gain)) < 0.5
    np.testing.assert_allclose(faster, gain * expected, atol=4)


def test_configs_and_invalid_options(tmp_path):
    names = [config.name for config in gm_multitrack.GmMultitrack.BUILDER_CONFIGS]
    assert names == [
        f"{size}-{form}"
        for size in ("tiny", "small", "full", "long")
        for form in ("multitrack44k", "multitrack48k")
    ]
    default = data_builders.builder("gm_multitrack", data_dir=tmp_path)
    assert default.builder_config.name == "small-multitrack44k"
    font = synth.default_soundfont()
    with_soundfont = data_builders.builder("gm_multitrack", data_dir=tmp_path, soundfont=str(font))
    assert with_soundfont.builder_config.name.startswith("small-multitrack44k-TimGM6mb-")
    for options, message in (
        ({"size": "tinny"}, "unknown size 'tinny': did you mean 'tiny'?"),
        ({"format": "mono22k"}, "unknown format 'mono22k'"),
        ({"soundfont": str(tmp_path / "none.sf2")}, "none.sf2: No such file"),
    ):
        with pytest.raises(UserError) as caught:
            data_builders.builder("gm_multitrack", data_dir=tmp_path, **options)
        assert message in str(caught.value)


# Note times


@pytest.mark.parametrize("frame_length", [1024, 5000])
def test_note_activity_matches_a_loop_over_notes(tiny, frame_length):
    pieces = tiny[0]
    planned = gm_multitrack_plan.plan_pieces("tiny", "train")
    for index, plan in enumerate(planned[:2]):
        actual = pieces.note_activity(index, frame_length=frame_length)
        num_frames = -(-pieces.num_samples[index] // frame_length)
        score = gm_multitrack_pieces.compose(plan)
        expected = np.zeros((len(plan.tracks), num_frames), bool)
        for j, (name, _) in enumerate(plan.tracks):
            for note in score.parts[name].notes:
                start = round(note.onset_s * RATE)
                end = max(start + 1, round((note.onset_s + note.duration_s) * RATE))
                for frame in range(num_frames):
                    if start < (frame + 1) * frame_length and frame * frame_length < end:
                        expected[j, frame] = True
        np.testing.assert_array_equal(actual, expected)
        assert 0.1 < actual.mean() < 0.95


def test_note_activity_follows_the_sound_of_the_dry_stems(tiny):
    for pieces in tiny:
        for index, piece in enumerate(pieces):
            plays = pieces.note_activity(index, frame_length=1024)
            num_frames = piece.stems.shape[1] // 1024
            frames = piece.stems[:, : num_frames * 1024].reshape(len(plays), num_frames, 1024)
            rms = np.sqrt(np.square(frames).mean(-1))
            for track, held in zip(rms, plays[:, :num_frames], strict=True):
                assert np.corrcoef(track, held)[0, 1] > 0.3
                assert np.median(track[held]) > 3 * np.median(track[~held])


# Errors


def test_multitrack_datasets_are_arguments_of_configs(capfd):
    words = ["--config=configs/han.py:debug", "--config.data.name=gm_multitrack"]
    assert run_command(lambda: main(words)) == 1
    err = capfd.readouterr().err
    assert "data.name=gm_multitrack: this dataset contains multitrack pieces, which need" in err
    assert "--config=FILE:dataset=gm_multitrack" in err and "Traceback" not in err


def test_load_pieces_rejects_datasets_without_tracks(tiny, folder):
    with pytest.raises(
        UserError, match="'gm_irmas': holds labelled clips, not multitrack pieces; choose gm_mult"
    ):
        data.load_pieces("gm_irmas", "train")
    with pytest.raises(UserError, match="has no 'tset' split; choose train, test or all"):
        data.load_pieces("gm_multitrack", "tset", size="tiny", data_dir=folder)
    pieces = data.load_pieces("gm_multitrack", "all", size="tiny", data_dir=folder)
    assert pieces.names == tiny[0].names + tiny[1].names
    assert pieces[-1].name == tiny[1].names[-1]
    with pytest.raises(IndexError):
        pieces[6]


def test_damaged_index_is_reported(tmp_path, few_pieces):
    builder = build(tmp_path, 1)
    (index,) = tmp_path.rglob("piece_index-test.json")
    assert [row["piece"] for row in builder.index("test")] == ["horn_trio-test-1"]
    index.write_text("{")
    with pytest.raises(
        UserError, match="missing or damaged file in a prepared dataset; delete the folder"
    ):
        builder.index("test")
