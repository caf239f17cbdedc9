"""Composition, synthesis and mixing of the `gm_irmas` clips.

A clip depends only on its plan and the SoundFont. Clips of the same song share musicians, tempo,
key, rhythms, room and mastering; bars, notes and balance differ. This module does not import
TensorFlow Datasets, so that render workers start quickly.
"""

import dataclasses
import operator

import numpy as np
from numpy.random import Generator

from data_builders.gm_irmas.plan import ClipPlan
from data_builders.rendering import arrange, genres, mix, seeding, synth
from data_builders.rendering.instruments import genre_weight
from irec_jax import audio as audio_io
from irec_jax.labels import IRMAS

#: Music version. It is part of every seed, and any change to the music requires a new version.
VERSION = "1.0.0"
TRAIN_CLIP_S = 3.0
_NUM_ATTEMPTS = 5
#: Accompanying instruments that are not IRMAS classes.
_OTHER_INSTRUMENTS = (
    "electric piano", "vibraphone", "marimba", "accordion", "harp", "banjo", "trombone",
    "french horn", "oboe", "bassoon",
)  # fmt: skip
#: Class -> weight with which it is drawn as the lead, among several labelled instruments.
_LEAD_WEIGHTS = {
    "voi": 6, "sax": 4, "tru": 4, "vio": 4, "flu": 4, "cla": 3, "cel": 2.5, "gel": 2.5, "pia": 1.5,
    "gac": 1, "org": 0.8,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RenderedClip:
    """A rendered clip and its contents.

    Attributes:
        mixture: float32 (T, 2) at 44.1 kHz within [-1, 1].
        direct: name -> direct sound (T, 2) of each stem at its level in the mixture; its
            `mix.active_rms_db` defines the balance between the instruments. Names are IRMAS
            classes, ``bass``, ``drums`` and names of other instruments.
        stems: name -> finished stem (T, 2) with reverberation; the stems add up to the mixture
            without the noise. Empty unless ``keep_stems`` was set.
        activity: name -> (start_s, end_s) of each of the stem's active segments.
        programs: stem name -> name of the instrument that plays it.
        labels: instrument classes that the clip is labelled with.
        genre: genre name.
        drums: ``yes`` or ``no``.
    """

    mixture: np.ndarray
    direct: dict[str, np.ndarray]
    stems: dict[str, np.ndarray]
    activity: dict[str, list[tuple[float, float]]]
    programs: dict[str, str]
    labels: tuple[str, ...]
    genre: str
    drums: str


def song_name(clip: ClipPlan) -> str:
    """Return the name of a clip's song, which is unique within the dataset."""
    return f"{clip.song:04d}" if clip.split == "train" else f"Piece {clip.song:03d}"


def clip_name(clip: ClipPlan, drums: str) -> str:
    """Return a clip's name, in the style of IRMAS's file names."""
    if clip.split == "test":
        return f"{song_name(clip)}-{clip.index + 1}"
    tag = {"yes": "dru", "no": "nod"}[drums]
    return f"[{clip.labels[0]}][{tag}][{clip.genre}]{song_name(clip)}__{clip.index + 1}"


def render_clip(
    clip: ClipPlan, *, soundfont: str | None = None, keep_stems: bool = False
) -> RenderedClip:
    """Render a clip.

    If a labelled instrument pauses for too long, the clip is composed again, at most four times.
    The best attempt is kept, or the first of several equally good ones.

    Args:
        clip: an entry of `plan.plan_clips`.
        soundfont: as for `synth.load_player`.
        keep_stems: if True, also return the finished stems.
    """
    attempts = []
    for attempt in range(_NUM_ATTEMPTS):
        arrangement = _Arrangement(clip, attempt)
        stems = arrangement.play(synth.load_player(soundfont))
        start = arrangement.start_samples
        presence = min(_presence(stems[label][start:]) for label in clip.labels)
        attempts.append((presence, arrangement, stems))
        if presence >= (1.0 if clip.split == "train" else 0.8):
            break
    _, arrangement, stems = max(attempts, key=operator.itemgetter(0))
    settings = (arrangement.strips(), _draw_room(clip), _draw_mastering(clip))
    mixture, direct, finished = mix.mixdown(
        stems, *settings, start_samples=arrangement.start_samples, keep_stems=keep_stems
    )
    return RenderedClip(
        mixture=mixture,
        direct=direct,
        stems=finished,
        activity={name: mix.activity(stem) for name, stem in direct.items()},
        programs={name: arrangement.musicians[name].instrument.name for name in direct},
        labels=clip.labels,
        genre=clip.genre,
        drums="yes" if "drums" in direct else "no",
    )


def render_example(task: tuple[ClipPlan, str | None, int, int]) -> tuple[str, dict]:
    """Render a task (clip, soundfont, sample rate in Hz, channels) and return (id, example).

    As for IRMAS's files, other formats are converted from the 16-bit stereo clip at 44.1 kHz.
    """
    clip, soundfont, sample_rate_hz, num_channels = task
    rendered = render_clip(clip, soundfont=soundfont)
    samples = audio_io.to_int16(rendered.mixture)
    if num_channels == 1 or sample_rate_hz != synth.SAMPLE_RATE_HZ:
        floats = audio_io.to_float32(samples)
        if num_channels == 1:
            floats = 0.5 * (floats[:, :1] + floats[:, 1:])
        samples = audio_io.to_int16(audio_io.resample(floats, synth.SAMPLE_RATE_HZ, sample_rate_hz))
    name = clip_name(clip, rendered.drums)
    return name, {
        "audio": samples,
        "labels": list(clip.labels),
        "id": name,
        "song": song_name(clip),
        "drums": rendered.drums,
        "genre": clip.genre,
        "part": clip.part,
        "contradictory": False,
    }


def _presence(stem: np.ndarray) -> float:
    """Return the fraction of one-second segments above the active RMS level minus 20 dB."""
    level_db = mix.active_rms_db(stem)
    if not np.isfinite(level_db):
        return 0.0
    frames_per_s = synth.SAMPLE_RATE_HZ // mix.FRAME_SAMPLES
    powers = 10 ** (mix.frame_levels_db(stem) / 10)
    seconds = np.array_split(powers, max(1, len(powers) // frames_per_s))
    levels_db = [10 * np.log10(second.mean() + 1e-20) for second in seconds]
    return float(np.mean(np.array(levels_db) > level_db - 20.0))


def _song_key(clip: ClipPlan) -> tuple:
    # The key omits the labels, which differ between sizes even for the same song number.
    return ("gm_irmas", VERSION, clip.split, clip.genre, clip.song)


class _Arrangement:
    """Lead sheet, musicians and levels of a clip.

    Attributes:
        start_samples: start of the clip in the music. Clips are excerpts of songs, so they begin
            anywhere in a bar, with notes already sounding.
        num_samples: number of samples to render, from the start of the music to the end of the
            clip.
        sheet: tempo, metre, key and chords.
        musicians: stem name -> musician.
        levels_db: stem name -> level in the mixture.
    """

    def __init__(self, clip: ClipPlan, attempt: int):
        self.clip = clip
        self._key = (*_song_key(clip), clip.index, attempt)
        rng = seeding.generator(*self._key, "form")
        duration_s = TRAIN_CLIP_S if clip.split == "train" else _draw_test_duration_s(rng)
        start_s = rng.uniform(0.5, 1.8)
        self.start_samples = round(start_s * synth.SAMPLE_RATE_HZ)
        self.num_samples = self.start_samples + round(duration_s * synth.SAMPLE_RATE_HZ)
        self.sheet = genres.draw_lead_sheet(
            seeding.generator(*_song_key(clip), "frame"),
            clip.genre,
            duration_s=start_s + duration_s,
            first_bar=4 * clip.index + 2 * attempt,
        )
        self.musicians: dict[str, arrange.Musician] = {}
        self.levels_db: dict[str, float] = {}
        self._add_labelled(rng)
        self._add_accompaniment(rng)
        self._add_rhythm_section(rng)

    def play(self, player: synth.SoundFontPlayer) -> dict[str, np.ndarray]:
        """Compose and render all parts; return name -> stem."""
        keys = dict(song_key=_song_key(self.clip), clip_key=self._key)
        parts = arrange.compose(list(self.musicians.values()), self.sheet, **keys)
        return {name: player.play(part, self.num_samples) for name, part in parts.items()}

    def strips(self) -> dict[str, mix.ChannelStrip]:
        """Return a dict from stem name to channel strip."""
        levels_db = self.levels_db.items()
        return {name: _draw_strip(self.clip, name, level_db) for name, level_db in levels_db}

    def _add(self, kind: str, *, leads: bool, level_db: float, labelled: bool = False) -> None:
        """Add a musician.

        The instrument and the playing style are drawn once per song, so that all its clips share
        them.

        Args:
            kind: kind of instrument, such as 'cel'; also used as the stem name.
            leads: whether the musician plays a lead part.
            level_db: stem level in dB.
            labelled: whether the clip is labelled with the instrument, which limits the rests.
        """
        key = _song_key(self.clip)
        song = seeding.generator(*key, "seat", kind, "lead" if leads else "back")
        instrument_rng = seeding.generator(*key, "instrument", kind)
        instrument = arrange.choose_instrument(instrument_rng, kind, self.clip.genre)
        train = self.clip.split == "train"
        self.musicians[kind] = arrange.Musician(
            name=kind,
            instrument=instrument,
            role=arrange.choose_role(song, instrument, leads=leads),
            density=float(song.uniform(0.1, 0.95) if leads else song.uniform(0.05, 0.7)),
            rests=float(song.uniform(0.3, 0.9)),
            max_gap_s=(0.35 if train else 0.9) if labelled else None,
        )
        self.levels_db[kind] = level_db

    def _add_labelled(self, rng: Generator) -> None:
        """Add the labelled instruments, whose levels differ by at most 5.4 dB."""
        labels = self.clip.labels
        leader = seeding.draw(rng, {label: _LEAD_WEIGHTS[label] for label in labels})
        for label in labels:
            alone = len(labels) == 1
            leads = label == leader if not alone else rng.random() < 0.8
            leads = leads or rng.random() < 0.2
            level_db = 0.0 if alone else float(rng.uniform(-5.4, 0.0))
            self._add(label, leads=leads, level_db=level_db, labelled=True)

    def _add_accompaniment(self, rng: Generator) -> None:
        """Add unlabelled instruments, both from IRMAS classes and from others."""
        clip = self.clip
        song = seeding.generator(*_song_key(clip), "others")
        weakest_db = min(self.levels_db.values())
        if clip.split == "train":
            present = song.random() < 0.52
            num_others = int(song.choice((1, 2, 3), p=(0.62, 0.3, 0.08)))
            usual = rng.random() < 0.72
            low_db, high_db = (
                (-15.6, -6.4) if usual else ((-6.0, -3.0), (-22.0, -16.0))[int(rng.random() < 0.5)]
            )
        else:
            present, num_others = rng.random() < 0.55, 1 + int(rng.random() < 0.2)
            low_db, high_db = weakest_db - 18.0, weakest_db - 10.4
        for _ in range(num_others if present else 0):
            absent = [kind for kind in IRMAS if kind not in self.musicians]
            kind = seeding.draw(song, {kind: genre_weight(kind, clip.genre) for kind in absent})
            level_db = float(rng.uniform(low_db, high_db))
            self._add(kind, leads=song.random() < 0.25, level_db=level_db)
        if song.random() < 0.2:
            weights = {kind: genre_weight(kind, clip.genre) for kind in _OTHER_INSTRUMENTS}
            kind = seeding.draw(song, weights)
            level_db = float(rng.uniform(weakest_db - 18.0, weakest_db - 10.4))
            self._add(kind, leads=False, level_db=level_db)

    def _add_rhythm_section(self, rng: Generator) -> None:
        """Add bass and drums with the genre's probabilities, usually both or neither."""
        song = seeding.generator(*_song_key(self.clip), "rhythm section")
        style = genres.GENRES[self.clip.genre]
        if self.clip.split == "train" and song.random() < 0.22:
            return
        shared = song.random()
        probabilities = {"bass": style.bass_probability, "drums": style.drum_probability}
        for kind, probability in probabilities.items():
            if 0.7 * shared + 0.3 * song.random() < probability:
                self._add(kind, leads=False, level_db=float(rng.uniform(-11.8, -3.2)))


def _draw_test_duration_s(rng: Generator) -> float:
    """Draw a duration of 5 to 20 s, usually close to 20 s."""
    near_20 = rng.random() < 0.6
    return round(float(rng.uniform(18.5, 20.0) if near_20 else rng.uniform(5.0, 18.5)), 3)


def _draw_strip(clip: ClipPlan, name: str, level_db: float) -> mix.ChannelStrip:
    """Draw a musician's channel strip; a song's clips share its equaliser and reverberation."""
    rng = seeding.generator(*_song_key(clip), "strip", name)
    central = name in ("bass", "drums", "voi") or name in clip.labels
    pan = float(np.clip(rng.normal(0.0, 0.15 if central else 0.5), -0.9, 0.9))
    eq = mix.draw_eq(rng)
    send_db = float(rng.uniform(-24.0, -8.0)) - (8.0 if name == "bass" else 0.0)
    return mix.ChannelStrip(level_db, pan, send_db, eq)


def _draw_room(clip: ClipPlan) -> mix.Room:
    rng = seeding.generator(*_song_key(clip), "room")
    large = clip.genre == "cla" or rng.random() < 0.25
    decay_s = (1.0, 2.2) if large else (0.25, 1.0)
    return mix.draw_room(rng, decay_s=decay_s, predelay_s=(0.002, 0.03), min_damping_hz=3500)


def _draw_mastering(clip: ClipPlan) -> mix.Mastering:
    """Draw the mastering: usually clean and wide, sometimes dull, narrow and noisy."""
    rng = seeding.generator(*_song_key(clip), "medium")
    old = rng.random() < 0.2
    tilt_db = rng.normal(0.0, 1.8)
    return mix.Mastering(
        peak_db=float(-rng.choice((rng.uniform(0.1, 3.0), rng.uniform(3.0, 14.0)), p=(0.6, 0.4))),
        width=float(rng.uniform(0.0, 0.6) if old else rng.uniform(0.6, 1.0)),
        lowpass_hz=float(rng.uniform(5500, 11_000)) if old else None,
        noise_db=float(rng.uniform(-52, -36)) if old else None,
        eq=((150.0, float(-tilt_db), 0.5), (5000.0, float(tilt_db), 0.5)),
    )
