"""Composes, plays and mixes one clip of `gm_irmas`: a function of its plan and the SoundFont.

Clips of one song share its players, tempo, key, rhythms, room and production; each clip has bars,
notes and balance of its own. Needs no TensorFlow Datasets, so that render workers start quickly.
"""

import dataclasses

import numpy as np

from data_builders.gm_irmas.plan import ClipPlan
from data_builders.rendering import arrange, genres, mix, seeding, synth
from data_builders.rendering.instruments import genre_weight
from data_builders.rendering.theory import LeadSheet
from irec_jax import audio as audio_io
from irec_jax.labels import IRMAS

#: Part of every seed: another version is other music.
VERSION = "1.0.0"
TRAIN_CLIP_S = 3.0
_NUM_ATTEMPTS = 5
_FILLERS = ("electric piano", "vibraphone", "marimba", "accordion", "harp", "banjo", "trombone",
            "french horn", "oboe", "bassoon")  # fmt: skip
# Who takes the melody when several labelled instruments play.
_LEADERSHIP = {
    "voi": 6, "sax": 4, "tru": 4, "vio": 4, "flu": 4, "cla": 3, "cel": 2.5, "gel": 2.5, "pia": 1.5,
    "gac": 1, "org": 0.8,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class RenderedClip:
    """A clip as audio, and what it is made of.

    Attributes:
        mixture: float32 (T, 2) at 44.1 kHz within [-1, 1].
        direct: name -> direct sound (T, 2) of each stem at its level in the mixture: the balance of
            instruments is defined on these (`mix.active_rms_db`). Names are the IRMAS classes,
            ``bass``, ``drums`` and names of other instruments.
        stems: name -> the finished stem (T, 2), reverberation included; they add up to the mixture
            but for its noise. Empty unless asked for.
        activity: name -> (start_s, end_s) spans in which the stem sounds.
        programs: name -> instrument that plays it.
        labels, genre, drums: the tags.
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
    """Name of a clip's song, unique within the dataset."""
    return f"{clip.song:04d}" if clip.split == "train" else f"Piece {clip.song:03d}"


def clip_name(clip: ClipPlan, drums: str) -> str:
    """Name of a clip, after the manner of IRMAS's file names."""
    if clip.split == "test":
        return f"{song_name(clip)}-{clip.index + 1}"
    tag = {"yes": "dru", "no": "nod"}[drums]
    return f"[{clip.labels[0]}][{tag}][{clip.genre}]{song_name(clip)}__{clip.index + 1}"


def render_clip(
    clip: ClipPlan, *, soundfont: str | None = None, keep_stems: bool = False
) -> RenderedClip:
    """Renders a clip.

    Args:
        clip: an entry of `gm_irmas_plan.plan`.
        soundfont: path of a General MIDI SoundFont; None for the default one.
        keep_stems: also finish each stem by itself.

    Raises:
        UserError: no such SoundFont, or tinysoundfont is missing.
    """
    best = None
    for attempt in range(_NUM_ATTEMPTS):
        draft = _Arrangement(clip, attempt)
        played = draft.play(synth.load_player(soundfont))
        presence = min(_presence(played[label][draft.start_samples :]) for label in clip.labels)
        if best is None or presence > best[0]:
            best = (presence, draft, played)
        if presence >= (1.0 if clip.split == "train" else 0.8):
            break
    _, draft, played = best
    mixture, direct, stems = mix.mixdown(
        played,
        draft.strips(),
        _room(clip),
        _medium(clip),
        start_samples=draft.start_samples,
        keep_stems=keep_stems,
    )
    return RenderedClip(
        mixture=mixture,
        direct=direct,
        stems=stems,
        activity={name: mix.activity(stem) for name, stem in direct.items()},
        programs={name: draft.musicians[name].instrument.name for name in direct},
        labels=clip.labels,
        genre=clip.genre,
        drums="yes" if "drums" in direct else "no",
    )


def render_example(task: tuple[ClipPlan, str | None, int, int]) -> tuple[str, dict]:
    """(id, example) of (clip, soundfont, sample rate in Hz, channels): what the builder writes.

    Other formats are made from the 16 bit stereo clip, as they are for IRMAS's files.
    """
    clip, soundfont, sample_rate_hz, num_channels = task
    rendered = render_clip(clip, soundfont=soundfont)
    samples = audio_io.to_int16(rendered.mixture)
    if num_channels == 1 or sample_rate_hz != synth.SAMPLE_RATE_HZ:
        floats = audio_io.to_float32(samples)
        if num_channels == 1:
            floats = 0.5 * (floats[:, :1] + floats[:, 1:])  # the mean
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
    """Share of the seconds of a stem that lie within 20 dB of its active level."""
    level_db = mix.active_rms_db(stem)
    if not np.isfinite(level_db):
        return 0.0
    per_second = synth.SAMPLE_RATE_HZ // mix.FRAME_SAMPLES
    powers = 10 ** (mix.frame_levels_db(stem) / 10)
    num_seconds = max(1, len(powers) // per_second)
    seconds_db = [10 * np.log10(one.mean() + 1e-20) for one in np.array_split(powers, num_seconds)]
    return float(np.mean(np.array(seconds_db) > level_db - 20.0))


def _song_key(clip: ClipPlan) -> tuple:
    # The genre and nothing else of the plan: songs of the same number differ between sizes.
    return ("gm_irmas", VERSION, clip.split, clip.genre, clip.song)


class _Arrangement:
    """Everything that is drawn for a clip before it sounds."""

    def __init__(self, clip: ClipPlan, attempt: int):
        self.clip = clip
        self._key = (*_song_key(clip), clip.index, attempt)
        rng = seeding.generator(*self._key, "form")
        duration_s = TRAIN_CLIP_S if clip.split == "train" else _test_duration_s(rng)
        # Clips are cut out of songs: they begin anywhere in a bar, with notes already sounding.
        start_s = rng.uniform(0.5, 1.8)
        self.start_samples = round(start_s * synth.SAMPLE_RATE_HZ)
        self.num_samples = self.start_samples + round(duration_s * synth.SAMPLE_RATE_HZ)
        self.sheet: LeadSheet = genres.draw_lead_sheet(
            seeding.generator(*_song_key(clip), "frame"),
            clip.genre,
            duration_s=start_s + duration_s,
            first_bar=4 * clip.index + 2 * attempt,
        )
        self.musicians: dict[str, arrange.Musician] = {}
        self.levels_db: dict[str, float] = {}
        self._cast_labelled(rng)
        self._cast_others(rng)
        self._cast_rhythm_section(rng)

    def play(self, player: synth.SoundFontPlayer) -> dict[str, np.ndarray]:
        parts = arrange.compose(
            list(self.musicians.values()),
            self.sheet,
            song_key=_song_key(self.clip),
            clip_key=self._key,
        )
        return {name: player.play(part, self.num_samples) for name, part in parts.items()}

    def strips(self) -> dict[str, mix.ChannelStrip]:
        return {
            name: dataclasses.replace(_strip(self.clip, name), level_db=level_db)
            for name, level_db in self.levels_db.items()
        }

    def _seat(self, kind: str, *, leads: bool, level_db: float, labelled: bool = False) -> None:
        song = seeding.generator(*_song_key(self.clip), "seat", kind, "lead" if leads else "back")
        instrument = _instrument(self.clip, kind)
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

    def _cast_labelled(self, rng: np.random.Generator) -> None:
        labels = self.clip.labels
        leaders = {label: _LEADERSHIP[label] for label in labels}
        leader = seeding.draw(rng, leaders)
        for label in labels:
            alone = len(labels) == 1
            leads = label == leader if not alone else rng.random() < 0.8
            leads = leads or rng.random() < 0.2
            level_db = 0.0 if alone else float(rng.uniform(-5.4, 0.0))
            self._seat(label, leads=leads, level_db=level_db, labelled=True)

    def _cast_others(self, rng: np.random.Generator) -> None:
        """Instruments of the eleven that are heard but not predominant, and instruments beyond."""
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
            odds = {
                kind: genre_weight(kind, clip.genre) for kind in IRMAS if kind not in self.musicians
            }
            kind = seeding.draw(song, odds)
            level_db = float(rng.uniform(low_db, high_db))
            self._seat(kind, leads=song.random() < 0.25, level_db=level_db)
        if song.random() < 0.2:
            kind = seeding.draw(song, {one: genre_weight(one, clip.genre) for one in _FILLERS})
            level_db = float(rng.uniform(weakest_db - 18.0, weakest_db - 10.4))
            self._seat(kind, leads=False, level_db=level_db)

    def _cast_rhythm_section(self, rng: np.random.Generator) -> None:
        song = seeding.generator(*_song_key(self.clip), "rhythm section")
        style = genres.GENRES[self.clip.genre]
        if self.clip.split == "train" and song.random() < 0.22:
            return
        # A band has both or neither more often than not.
        band = song.random()
        for kind, probability in (
            ("bass", style.bass_probability),
            ("drums", style.drum_probability),
        ):
            alone = song.random()
            if 0.7 * band + 0.3 * alone < probability:
                level_db = float(rng.uniform(-11.8, -3.2))
                self._seat(kind, leads=False, level_db=level_db)


def _test_duration_s(rng: np.random.Generator) -> float:
    """5 to 20 s, mostly near 20."""
    near_20 = rng.random() < 0.6
    return round(float(rng.uniform(18.5, 20.0) if near_20 else rng.uniform(5.0, 18.5)), 3)


def _instrument(clip: ClipPlan, kind: str):
    rng = seeding.generator(*_song_key(clip), "instrument", kind)
    return arrange.choose_instrument(rng, kind, clip.genre)


def _strip(clip: ClipPlan, name: str) -> mix.ChannelStrip:
    """A player's place and colour in the song: the same in all its clips."""
    rng = seeding.generator(*_song_key(clip), "strip", name)
    central = name in ("bass", "drums", "voi") or name in clip.labels
    pan = float(np.clip(rng.normal(0.0, 0.15 if central else 0.5), -0.9, 0.9))
    eq = tuple(
        (float(np.exp(rng.uniform(np.log(low), np.log(high)))), float(rng.normal(0.0, 2.5)),
         float(rng.uniform(0.5, 1.4)))
        for low, high in ((120, 500), (600, 2000), (2500, 9000))
    )  # fmt: skip
    send_db = float(rng.uniform(-24.0, -8.0)) - (8.0 if name == "bass" else 0.0)
    return mix.ChannelStrip(0.0, pan, send_db, eq)


def _room(clip: ClipPlan) -> mix.Room:
    rng = seeding.generator(*_song_key(clip), "room")
    large = clip.genre == "cla" or rng.random() < 0.25
    return mix.Room(
        decay_s=float(rng.uniform(1.0, 2.2) if large else rng.uniform(0.25, 1.0)),
        predelay_s=float(rng.uniform(0.002, 0.03)),
        damping_hz=float(rng.uniform(3500, 11_000)),
        seed=int(rng.integers(1 << 31)),
    )


def _medium(clip: ClipPlan) -> mix.Mastering:
    """Decades of recordings: most of them clean and wide, some dull, narrow and noisy."""
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
