"""gm_musdb: plan, composed notes, rendered audio and files."""

import hashlib

import numpy as np
import pytest
import scipy.signal
from array_record.python.array_record_module import ArrayRecordReader

import data_builders
from data_builders.common.features import STEM_SEGMENT_S
from data_builders.gm_musdb import builder as gm_musdb
from data_builders.gm_musdb import plan as gm_musdb_plan
from data_builders.gm_musdb import render as gm_musdb_songs
from data_builders.rendering import band, mix, seeding, singer, theory
from data_builders.rendering.score import Note
from irec_jax.errors import UserError
from irec_jax.labels import STEMS, STREAMS

RATE = 44_100
SPLITS = gm_musdb_plan.SPLITS
FOUR = theory.Metre(4, 4)


def plans(size):
    return [song for split in SPLITS for song in gm_musdb_plan.plan_songs(size, split)]


# The plan


@pytest.mark.parametrize("size", gm_musdb_plan.SIZES)
def test_plans_are_consistent(size):
    songs = plans(size)
    assert songs == plans(size)
    assert len({song.name for song in songs}) == len(songs)
    counts = tuple(len(gm_musdb_plan.plan_songs(size, split)) for split in SPLITS)
    assert counts == {"tiny": (3, 1, 1), "small": (24, 6, 8), "full": (86, 14, 50)}[size]
    low, high = {"tiny": (4, 6), "small": (18, 22), "full": (30, 60)}[size]
    assert all(low <= song.duration_s <= high for song in songs)
    with pytest.raises(ValueError, match="huge"):
        gm_musdb_plan.plan_songs("huge", "train")
    with pytest.raises(ValueError, match="all"):
        gm_musdb_plan.plan_songs(size, "all")


# The music


@pytest.fixture(scope="module")
def scores():
    return [(song, gm_musdb_songs.compose(song)) for song in (*plans("tiny"), *plans("small"))]


def test_every_stem_is_audible_and_rests_in_some_songs(scores):
    rests = dict.fromkeys(STEMS, 0)
    for song, score in scores:
        assert score.sections[0].first == 0
        assert score.sections[-1].end == len(score.sheet.bars)
        assert score.sheet.seconds(score.sheet.num_beats) >= song.duration_s
        for stem in STEMS:
            names = {member.name for member in score.members if member.stem == stem}
            notes = [
                n for name in names for n in score.parts[name].notes if n.onset_s < song.duration_s
            ]
            assert notes, (song.name, stem)
            rests[stem] += any(not names & cast for cast in score.instrumentation)
        assert 2 <= sum(member.stem == "other" for member in score.members) <= 5
    assert rests["drums"] > 5 and rests["bass"] > 5 and rests["vocals"] > 10
    assert max(rests.values()) < len(scores)


def test_members_are_silent_outside_their_sections(scores):
    for _, score in scores:
        beats = score.sheet.metre.beats
        for section, cast in zip(score.sections, score.instrumentation, strict=True):
            edges = [score.sheet.seconds(bar * beats) for bar in (section.first, section.end)]
            for member in score.members:
                if member.name not in cast:  # onsets deviate from the beat
                    inside = [
                        note
                        for note in score.parts[member.name].notes
                        if edges[0] + 0.12 < note.onset_s < edges[1] - 0.12
                    ]
                    assert not inside


def test_parts_are_idiomatic(scores):
    programs, grooves = set(), set()
    for _, score in scores:
        for member in score.members:
            pitches = [note.pitch for note in score.parts[member.name].notes]
            assert member.instrument.low <= min(pitches) and max(pitches) <= member.instrument.high
            programs.add((member.stem, member.instrument.name))
            if member.role in ("bass", "voice"):  # one note at a time
                onsets = [note.onset_s for note in score.parts[member.name].notes]
                assert np.diff(onsets).min() > 0
            if member.role == "bass":
                assert max(pitches) <= 50
            if member.role == "drums":
                grooves.add(tuple(pitches[:12]))
    assert len(grooves) > 0.8 * len(scores)
    for stem, least in (("drums", 4), ("bass", 5), ("other", 20), ("vocals", 4)):
        assert sum(kind == stem for kind, _ in programs) >= least


def test_drums_and_bass_follow_the_sections():
    sheet = theory.LeadSheet(
        120.0, FOUR, 0.5, 0, "major", ((theory.chord("I", 0),),) * 8, "pop_roc"
    )
    grooves = {
        kind: band.draw_groove(seeding.generator("groove", kind), FOUR, loud=kind == "chorus")
        for kind in ("verse", "chorus")
    }
    sections = [band.Section(0, 4, "verse", "drums"), band.Section(6, 8, "chorus")]
    notes = band.drums(sheet, sections, grooves, seeding.generator("drummer"))
    bars = {int(note.beat // 4) for note in notes if note.beat != 12.0}
    assert bars == {0, 1, 2, 6, 7}  # silent in bar 3 (stop) and in bars 4 and 5 (no section)
    beats_and_pitches = [(note.beat, note.pitch) for note in notes]
    assert len(set(beats_and_pitches)) == len(beats_and_pitches)
    line = band.bass(
        sheet, sections, grooves, low=28, high=50,
        patterns={kind: seeding.generator("bass", kind) for kind in grooves},
        rng=seeding.generator("bassist"),
    )  # fmt: skip
    roots = [note.pitch % 12 for note in line]
    assert {int(note.beat // 4) for note in line} == {0, 1, 2, 3, 6, 7}
    assert np.mean([root in (0, 7) for root in roots]) > 0.7


def test_version_1_0_0_is_frozen():
    # Changed music has another digest and requires a new version. (Only pitches and
    # instrumentation, which do not depend on the rounding of a machine.)
    music = []
    for song in plans("small")[::5]:
        score = gm_musdb_songs.compose(song)
        music.append((song.name, song.duration_s, [tuple(item) for item in score.sections]))
        music += [sorted(cast) for cast in score.instrumentation]
        for item in score.members:
            music.append((item.name, item.instrument.name, item.role))
            music.append([int(note.pitch) for note in score.parts[item.name].notes])
    assert gm_musdb_songs.VERSION == "1.0.0"
    assert hashlib.md5(repr(music).encode()).hexdigest() == "560ccc8f46747e59314a7217aacf7312"


# The sound


def test_compressor_reduces_levels_above_the_threshold():
    time_s = np.arange(3 * RATE) / RATE
    envelope = np.repeat([0.1, 1.0, 0.1], RATE)
    tone = np.stack([np.sin(2000 * time_s), 0.5 * np.sin(3000 * time_s)], axis=1)
    sound = (envelope[:, None] * tone).astype(np.float32)
    np.testing.assert_array_equal(mix.compress(sound, threshold_db=-6.0, ratio=1.0), sound)
    soft = mix.compress(sound, threshold_db=-6.0, ratio=4.0)
    # Soft parts are unchanged; a quarter of the excess over the threshold remains.
    np.testing.assert_array_equal(soft[: RATE - 200], sound[: RATE - 200])
    np.testing.assert_allclose(soft[-RATE // 2 :], sound[-RATE // 2 :], rtol=0.01)
    middle = slice(RATE + 8000, 2 * RATE - 200)
    peak_db = 10 * np.log10(np.max(np.square(sound[middle]).mean(axis=1)))
    over_db = peak_db - (mix.active_rms_db(sound) - 6.0)
    gain_db = 10 * np.log10(np.mean(soft[middle] ** 2, 0) / np.mean(sound[middle] ** 2, 0))
    np.testing.assert_allclose(gain_db, -0.75 * over_db, atol=0.5)  # the same for both channels


def test_syllables_have_vowels_and_consonants():
    rng = np.random.default_rng(0)
    time_s = np.arange(4 * RATE) / RATE
    buzz = scipy.signal.sawtooth(2 * np.pi * 150 * time_s)[:, None].astype(np.float32)
    notes = tuple(Note(0.5 * i, 0.45, 50, 90) for i in range(8))
    words = singer.articulate(buzz, notes, rng)
    assert words.shape == buzz.shape and words.dtype == np.float32
    spectra = np.abs(np.fft.rfft(words.reshape(8, -1)[:, 6000:18_000], axis=1))
    spectra /= np.linalg.norm(spectra, axis=1, keepdims=True)
    similarity = spectra @ spectra.T
    assert similarity.min() < 0.85 and similarity[~np.eye(8, dtype=bool)].max() > 0.99
    silent = singer.articulate(np.zeros_like(buzz), notes, np.random.default_rng(1))
    assert not silent.any()


# The files


@pytest.fixture(scope="module")
def tiny():
    """Dataset of size tiny, whose few songs are rendered without worker processes.

    Other tests train on it, too.
    """
    return data_builders.prepare("gm_musdb", size="tiny")


def tracks(builder, split):
    """Return int16 (T, 2) by track name and stream, with the segments joined."""
    segments = {}
    for example in builder.as_data_source(split):
        stem = STREAMS[example["stem"]]
        streams = segments.setdefault(example["track"].decode(), {})
        streams.setdefault(stem, []).append(example["audio"])
        assert example["segment"] == len(streams[stem]) - 1
        assert example["start_s"] == STEM_SEGMENT_S * example["segment"]
        assert example["id"].decode().split("/")[1] == stem and example["errata"] == b""
    return {
        name: {stem: np.concatenate(parts) for stem, parts in streams.items()}
        for name, streams in segments.items()
    }


def test_stems_add_up_to_the_mixture(tiny):
    for split in SPLITS:
        streams_by_track = tracks(tiny, split)
        planned = gm_musdb_plan.plan_songs("tiny", split)
        assert list(streams_by_track) == [song.name for song in planned]
        for song in planned:
            streams = streams_by_track[song.name]
            assert tuple(streams) == STREAMS
            mixture = streams["mixture"]
            assert mixture.dtype == np.int16
            assert mixture.shape == (round(song.duration_s * RATE), 2)
            total = sum(streams[stem].astype(np.int32) for stem in STEMS)
            np.testing.assert_array_equal(mixture, total)
            peak = max(np.abs(audio.astype(int)).max() for audio in streams.values())
            assert 20 * np.log10(peak / 32_768) == pytest.approx(-1.0, abs=0.01)
            levels_db = [10 * np.log10(np.mean(streams[s] / 32_768.0) ** 2 + 1e-20) for s in STEMS]
            assert max(levels_db) < -50  # no DC offset
            for stem in STEMS:
                relative = np.square(streams[stem] / 1.0).mean() / np.square(mixture / 1.0).mean()
                assert -25 < 10 * np.log10(relative) < 1
            correlations = np.abs(np.corrcoef([streams[stem].mean(axis=1) for stem in STEMS]))
            assert (correlations - np.eye(4)).max() < 0.3


def test_stems_have_their_frequency_ranges(tiny):
    below, above = {}, {}
    for streams in (track for split in SPLITS for track in tracks(tiny, split).values()):
        for stem in STEMS:
            power = np.abs(np.fft.rfft(streams[stem].mean(axis=1))) ** 2
            hz = np.fft.rfftfreq(len(streams[stem]), 1 / RATE)
            below.setdefault(stem, []).append(power[hz < 200].sum() / power.sum())
            above.setdefault(stem, []).append(power[hz > 4000].sum() / power.sum())
    assert min(below["bass"]) > 0.5 and max(below["vocals"]) < 0.45
    assert np.mean(below["vocals"] + below["other"]) < 0.25
    assert np.mean(above["drums"]) > 3 * max(np.mean(above["bass"]), np.mean(above["other"]))


def test_onsets_of_drums_are_on_the_beat(tiny):
    (song,) = gm_musdb_plan.plan_songs("tiny", "validation")
    sheet = gm_musdb_songs.compose(song).sheet
    drums = tracks(tiny, "validation")[song.name]["drums"].mean(axis=1)
    hop = 220
    frames = np.lib.stride_tricks.sliding_window_view(drums, 882)[::hop]
    rise = np.maximum(np.diff(np.log(np.square(frames).mean(axis=1) + 100.0)), 0)
    steps = sheet.num_beats * sheet.metre.steps
    grid_s = [sheet.seconds(step / sheet.metre.steps) for step in range(steps)]
    # The level rises mostly at the steps of the bar, and least midway between them.
    distances_s = np.min(
        np.abs((np.arange(len(rise)) * hop + 441)[:, None] / RATE - grid_s), axis=1
    )
    midway = distances_s > 0.3 * sheet.beat_s / sheet.metre.steps
    assert 0.25 < midway.mean() < 0.75
    assert rise[~midway].mean() > 2.5 * rise[midway].mean()


def test_index_and_info(tiny):
    assert tiny.info.full_name == "gm_musdb/tiny/1.0.0"
    for split in SPLITS:
        rows, examples = tiny.index(split), list(tiny.as_data_source(split))
        assert len(rows) == len(examples)
        for row, example in zip(rows, examples, strict=True):
            assert row["track"] == example["track"].decode() and row["errata"] == ""
            assert row["stem"] == STREAMS[example["stem"]]
            assert (row["segment"], row["num_samples"]) == (
                example["segment"],
                len(example["audio"]),
            )


def test_records_have_sorted_features(tiny):
    # Unsorted features have a fixed order only within one process.
    (file,) = tiny.data_path.glob("*-test.array_record*")
    names = sorted(tiny.info.features)
    for record in ArrayRecordReader(str(file)).read_all():
        offsets = [record.find(b"\n" + bytes([len(name)]) + name.encode()) for name in names]
        assert min(offsets) > 0 and offsets == sorted(offsets)


def test_worker_processes_render_the_same_audio(tiny, tmp_path):
    builder = gm_musdb.GmMusdb(data_dir=tmp_path, config="tiny")
    builder.num_workers = 2
    examples = builder._generate_examples("train")
    rendered = list(examples)
    assert len(rendered) == len(examples) == len(tiny.index("train"))
    for (key, example), expected in zip(rendered, tiny.as_data_source("train"), strict=True):
        assert key == expected["id"].decode()
        np.testing.assert_array_equal(example["audio"], expected["audio"])


def test_configs_and_invalid_options(tmp_path):
    default = data_builders.builder("gm_musdb", data_dir=tmp_path)
    assert default.builder_config.name == "small"
    description = data_builders.describe("gm_musdb")
    assert description.kind == "stems" and description.rendered
    font = gm_musdb.synth.default_soundfont()
    with_soundfont = data_builders.builder(
        "gm_musdb", data_dir=tmp_path, size="tiny", soundfont=str(font)
    )
    assert with_soundfont.builder_config.name.startswith("tiny-TimGM6mb-")
    for options, message in (
        ({"size": "tinny"}, "unknown size 'tinny': did you mean 'tiny'?"),
        ({"format": "hq"}, "unknown argument 'format' of dataset 'gm_musdb'"),
        ({"soundfont": str(tmp_path / "none.sf2")}, "none.sf2: No such file"),
    ):
        with pytest.raises(UserError) as caught:
            data_builders.builder("gm_musdb", data_dir=tmp_path, **options)
        assert message in str(caught.value)
