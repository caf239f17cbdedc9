"""Composition, synthesis and mixing of the `gm_wild` clips.

A clip depends only on its plan and the sound libraries. This module does not import TensorFlow
Datasets, so that render workers start quickly.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.random import Generator

from data_builders.gm_wild import techniques
from data_builders.gm_wild.plan import ClipPlan
from data_builders.rendering import arrange, genres, libraries, mix, performance, seeding, singer
from data_builders.rendering.instruments import (
    BAND,
    CATALOGUE,
    OTHERS,
    Instrument,
    genre_weight,
    of_kind,
)
from data_builders.rendering.score import BeatNote, Part
from data_builders.rendering.synth import SAMPLE_RATE_HZ
from data_builders.rendering.voices import VoicePlayer
from irec_jax import audio as audio_io
from irec_jax.labels import IRMAS

#: Version of the music. It is part of every seed, and any change to the music requires a new one.
VERSION = "1.2.0"
CLIP_S = 3.0
#: An instrument becomes a label if it is at most this much weaker than the strongest one.
LABEL_RANGE_DB = 10.0
#: Maximum and standard deviation (before clipping) of the resonance shifts, in semitones.
_MAX_SHIFT_SEMITONES, _SHIFT_DEVIATION = 5, 2.5
#: Kinds of instruments that neither belong to an IRMAS class nor closely resemble one.
_OTHER_KINDS = (
    "vibraphone", "marimba", "accordion", "harp", "banjo", "trombone", "tuba", "french horn",
    "oboe", "bassoon", "bass",
)  # fmt: skip
_OTHER_BAND = ("brass", "synth", "pad")
_KITS = tuple(own for own in (*CATALOGUE, *BAND) if own.kind == "drums")
_OTHERS = (
    *(own for own in CATALOGUE if own.kind in _OTHER_KINDS),
    *(own for own in BAND if own.kind in _OTHER_BAND),
    *OTHERS,
)

#: Loaded libraries with their weights.
Players = Mapping[libraries.Player, float]


@dataclasses.dataclass(frozen=True)
class _Seat:
    """One player of a clip: an instrument, the library that plays it, and the level in dB."""

    name: str
    instrument: Instrument
    library: libraries.Player
    level_db: float
    leads: bool


def render_example(task: tuple[ClipPlan, tuple[str, ...], int, int]) -> tuple[str, dict]:
    """Render a task (clip, library names, sample rate in Hz, channels); return (id, example)."""
    clip, names, sample_rate_hz, num_channels = task
    audio, labels, genre, drums = render_clip(clip, names)
    if num_channels == 1:
        audio = audio.mean(axis=1, keepdims=True)
    if sample_rate_hz != SAMPLE_RATE_HZ:
        audio = audio_io.resample(audio, SAMPLE_RATE_HZ, sample_rate_hz)
    return clip.name, {
        "audio": audio_io.to_int16(audio),
        "labels": list(labels),
        "id": clip.name,
        "song": clip.name,
        "drums": "yes" if drums else "no",
        "genre": genre,
        "part": 0,
        "contradictory": False,
    }


def render_clip(
    clip: ClipPlan, names: tuple[str, ...]
) -> tuple[np.ndarray, tuple[str, ...], str, bool]:
    """Render a clip.

    Args:
        clip: an entry of `plan.plan_clips`.
        names: names of the sound libraries; each instrument is played by one of them, drawn
            at random.

    Returns:
        The audio, float32 (T, 2) at 44.1 kHz within [-1, 1]; the labels; the genre; and whether
        drums play.
    """
    rng = seeding.generator("gm_wild", VERSION, clip.split, clip.index, clip.content, clip.label)
    players = {libraries.load(name): libraries.LIBRARIES[name].weight for name in names}
    genre = _draw_genre(rng, clip)
    if clip.content == "other" and rng.random() < 0.25:
        return _draw_noise(rng), (), "unknown", False
    seats = _draw_seats(rng, clip, genre, players)
    start_s = rng.uniform(0.4, 1.6)
    single = clip.content == "notes" or (clip.content == "other" and rng.random() < 0.4)
    if single:  # some clips begin while a note sounds
        start_s = float(rng.uniform(0.2, 4.0)) if rng.random() < 0.35 else 0.0
    num_samples = round((start_s + CLIP_S) * SAMPLE_RATE_HZ)
    key = ("gm_wild", VERSION, clip.split, clip.index)
    sheet_rng = seeding.generator(*key, "sheet")
    sheet = genres.draw_lead_sheet(sheet_rng, genre, duration_s=start_s + CLIP_S)
    stems = {}
    for seat, part in zip(seats, _parts(seats, sheet, key, single, start_s), strict=True):
        if seat.instrument.kind == "drums":
            stems[seat.name] = seat.library.play(part, num_samples)
            continue
        part = techniques.vary(part, rng)
        stem = play_shifted(seat.library, part, num_samples, _draw_shift(rng))
        sings = isinstance(seat.library, VoicePlayer)
        if seat.instrument.kind == "voi" and not sings and rng.random() < 0.6:
            stem = singer.articulate(stem, part.notes, rng)
        stems[seat.name] = _normalise(techniques.colour(stem, part, rng))
    if not any(np.any(stem) for stem in stems.values()):
        return _draw_noise(rng), (), genre, False
    strips = {seat.name: _draw_strip(rng, seat) for seat in seats}
    start = round(start_s * SAMPLE_RATE_HZ)
    if not any(_sounds(stem, start) for stem in stems.values()):
        # All notes have decayed: use the start of the part instead.
        start, stems = 0, {name: stem[: len(stem) - start] for name, stem in stems.items()}
    settings = (strips, _draw_room(rng), _draw_mastering(rng))
    try:
        mixture, direct, _ = mix.mixdown(stems, *settings, start_samples=start)
    except ValueError:  # a short sound that is beyond the end of the clip
        return _draw_noise(rng), (), genre, False
    levels_db = {name: mix.active_rms_db(stem) for name, stem in direct.items()}
    strongest_db = max(levels_db.values())
    labels = tuple(
        label
        for label in IRMAS
        if levels_db.get(label, -np.inf) > max(strongest_db - LABEL_RANGE_DB, -80.0)
    )
    return mixture, labels, genre, "drums" in direct


def play_shifted(
    player: libraries.Player, part: Part, num_samples: int, semitones: int
) -> np.ndarray:
    """Render a part with shifted resonances, like those of a smaller or larger instrument.

    For a shift up, the part is played lower and more slowly, then sped up, which restores pitch and
    tempo. Formants and attack noise end up higher by the shift.

    Args:
        player: sound library that plays the part.
        part: the part to render.
        num_samples: length of the result in samples.
        semitones: the shift; negative values shift down.

    Returns:
        float32 (num_samples, 1) or (num_samples, 2) at 44.1 kHz.
    """
    if not semitones:
        return player.play(part, num_samples)
    speed = 2.0 ** (semitones / 12)
    slower = dataclasses.replace(
        part,
        notes=tuple(
            note._replace(
                onset_s=note.onset_s * speed,
                duration_s=note.duration_s * speed,
                pitch=note.pitch - semitones,
            )
            for note in part.notes
        ),
        bend=tuple((time_s * speed, cents) for time_s, cents in part.bend),
        swell=tuple((time_s * speed, gain_db) for time_s, gain_db in part.swell),
    )
    played = player.play(slower, math.ceil(num_samples * speed))
    rate_hz = round(SAMPLE_RATE_HZ * speed)
    samples = audio_io.resample(played, rate_hz, SAMPLE_RATE_HZ)[:num_samples]
    return np.pad(samples, ((0, num_samples - len(samples)), (0, 0)))


def _normalise(stem: np.ndarray) -> np.ndarray:
    """Scale a stem to a peak of 1, or return zeros if it is inaudible.

    Instruments may be silent far beyond their register.
    """
    peak = np.abs(stem).max()
    return stem / peak if peak > 1e-5 else np.zeros_like(stem)


def _sounds(stem: np.ndarray, start: int) -> bool:
    """Return whether the peak of a stem from ``start`` on is less than 40 dB below its maximum."""
    return bool(np.abs(stem[start:]).max() > 0.01 * np.abs(stem).max())


def _draw_shift(rng: Generator) -> int:
    shift = round(rng.normal(0.0, _SHIFT_DEVIATION))
    return int(np.clip(shift, -_MAX_SHIFT_SEMITONES, _MAX_SHIFT_SEMITONES))


def _draw_genre(rng: Generator, clip: ClipPlan) -> str:
    weights = {genre: 1.0 for genre in genres.GENRES}
    if clip.label:
        weights = {genre: genre_weight(clip.label, genre) + 0.3 for genre in weights}
    return seeding.draw(rng, weights)


def _draw_seats(rng: Generator, clip: ClipPlan, genre: str, players: Players) -> list[_Seat]:
    """Draw the players of a clip, the main one first."""
    if clip.content == "other":
        instrument = seeding.choice(rng, _KITS if rng.random() < 0.4 else _OTHERS)
        seats = [_seat(rng, instrument.kind, instrument, players, 0.0)]
        if rng.random() < 0.25 and instrument.kind not in ("drums", "bass"):
            seats.append(_seat(rng, "drums", seeding.choice(rng, _KITS), players, -4.0))
        return seats
    seats = [_seat(rng, clip.label, _draw_instrument(rng, clip.label, genre), players, 0.0)]
    if clip.content != "ensemble":
        return seats
    for _ in range(int(rng.choice((0, 1, 2, 3), p=(0.15, 0.4, 0.3, 0.15)))):
        taken = {seat.name for seat in seats}
        weights = {kind: genre_weight(kind, genre) + 0.1 for kind in IRMAS if kind not in taken} | {
            kind: 0.4 * genre_weight(kind, genre) for kind in _OTHER_KINDS if kind != "bass"
        }
        kind = seeding.draw(rng, {name: w for name, w in weights.items() if name not in taken})
        level_db = float(rng.uniform(-16.0, 0.0))
        instrument = _draw_instrument(rng, kind, genre)
        seats.append(_seat(rng, kind, instrument, players, level_db, leads=rng.random() < 0.4))
    for kind in ("bass", "drums"):
        if rng.random() < 0.55 and kind not in {seat.name for seat in seats}:
            instrument = arrange.choose_instrument(rng, kind, genre)
            level_db = float(rng.uniform(-12.0, -2.0))
            seats.append(_seat(rng, kind, instrument, players, level_db, leads=False))
    return seats


def _draw_instrument(rng: Generator, kind: str, genre: str) -> Instrument:
    """Draw an instrument of a kind, usually by its weight in the genre, sometimes uniformly."""
    if rng.random() < 0.75:
        return arrange.choose_instrument(rng, kind, genre)
    return seeding.choice(rng, of_kind(kind))


def _seat(
    rng: Generator,
    name: str,
    instrument: Instrument,
    players: Players,
    level_db: float,
    *,
    leads: bool = True,
) -> _Seat:
    able = {player: weight for player, weight in players.items() if player.plays(instrument)}
    if not able:  # some libraries have only a few instruments
        substitutes = [
            (player, own)
            for player in players
            for own in CATALOGUE
            if own.kind == instrument.kind and player.plays(own)
        ]
        if substitutes:
            player, instrument = seeding.choice(rng, substitutes)
            return _Seat(name, instrument, player, level_db, leads)
        return _Seat(name, instrument, _Silence(), level_db, leads)
    return _Seat(name, instrument, seeding.draw(rng, able), level_db, leads)


class _Silence:
    """Silent substitute for instruments that no library can play."""

    def plays(self, instrument: Instrument) -> bool:
        del instrument
        return True

    def play(self, part: Part, num_samples: int) -> np.ndarray:
        del part
        return np.zeros((num_samples, 1), np.float32)


def _parts(seats: list[_Seat], sheet, key: tuple, single: bool, start_s: float) -> list[Part]:
    """Compose the parts of the players, either as single notes or as music."""
    if single:
        return [_single_notes(seat, sheet, key, start_s) for seat in seats]
    musicians = []
    for seat in seats:
        rng = seeding.generator(*key, "seat", seat.name)
        role = arrange.choose_role(rng, seat.instrument, leads=seat.leads)
        musicians.append(
            arrange.Musician(
                name=seat.name,
                instrument=seat.instrument,
                role=role,
                density=float(rng.uniform(0.05, 0.9)),
                rests=float(rng.uniform(0.2, 0.9)),
                max_gap_s=0.5 if seat.level_db == 0.0 else None,
            )
        )
    composed = arrange.compose(musicians, sheet, song_key=key, clip_key=(*key, 0))
    return [composed[seat.name] for seat in seats]


def _single_notes(seat: _Seat, sheet, key: tuple, start_s: float) -> Part:
    """Return one to three notes.

    If the clip starts later than the part (``start_s`` > 0), the first note is held beyond the
    start of the clip.
    """
    rng = seeding.generator(*key, "notes", seat.name)
    instrument = seat.instrument
    notes, time_s = [], float(rng.uniform(0.0, start_s or 1.2))
    for _ in range(int(rng.integers(1, 4))):
        length_s = float(np.exp(rng.uniform(np.log(0.15), np.log(2.5))))
        if start_s and not notes:
            length_s = start_s - time_s + float(rng.uniform(0.3, 3.0))
        # Most notes are within three semitones of the comfortable register; the others may be far
        # beyond it.
        below, above = (3, 3) if rng.random() < 0.75 else (7, 13)
        pitch = int(rng.integers(instrument.low - below, instrument.high + above + 1))
        notes.append(BeatNote(time_s / sheet.beat_s, length_s / sheet.beat_s, pitch))
        time_s += length_s + float(rng.uniform(0.0, 0.8))
        if time_s > start_s + CLIP_S - 0.3:
            break
    pattern = seeding.generator(*key, "pattern", seat.name)
    return performance.perform(
        notes, instrument=instrument, role="melody", sheet=sheet, pattern=pattern, rng=rng
    )


def _draw_strip(rng: Generator, seat: _Seat) -> mix.ChannelStrip:
    pan = float(np.clip(rng.normal(0.0, 0.3), -0.9, 0.9))
    send_db = float(rng.uniform(-24.0, -4.0)) if rng.random() < 0.7 else -60.0
    return mix.ChannelStrip(seat.level_db, pan, send_db, mix.draw_eq(rng))


def _draw_room(rng: Generator) -> mix.Room:
    decay_s = (1.0, 2.8) if rng.random() < 0.3 else (0.2, 1.0)
    return mix.draw_room(rng, decay_s=decay_s, predelay_s=(0.001, 0.03), min_damping_hz=2500)


def _draw_mastering(rng: Generator) -> mix.Mastering:
    """Draw the mastering: often clean, sometimes dull or noisy."""
    tilt_db = rng.normal(0.0, 2.5)
    return mix.Mastering(
        peak_db=float(rng.uniform(-12.0, -0.1)),
        width=float(rng.uniform(0.0, 1.0)),
        lowpass_hz=float(rng.uniform(4000, 11_000)) if rng.random() < 0.2 else None,
        noise_db=float(rng.uniform(-55, -25)) if rng.random() < 0.3 else None,
        eq=((150.0, float(-tilt_db), 0.5), (5000.0, float(tilt_db), 0.5)),
    )


def _draw_noise(rng: Generator) -> np.ndarray:
    """Draw silence or coloured noise, sometimes with hum or in bursts, as float32 (T, 2)."""
    num_samples = round(CLIP_S * SAMPLE_RATE_HZ)
    if rng.random() < 0.1:
        return np.zeros((num_samples, 2), np.float32)
    frequencies = np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE_HZ)
    slope = rng.uniform(-1.2, 0.3)
    shape = np.maximum(frequencies, 20.0) ** slope
    spectrum = shape * np.exp(2j * np.pi * rng.random(len(frequencies)))
    noise = np.fft.irfft(spectrum, num_samples)
    noise /= np.abs(noise).max()
    times_s = np.arange(num_samples) / SAMPLE_RATE_HZ
    if rng.random() < 0.3:
        hum_hz = seeding.choice(rng, (50.0, 60.0, 100.0))
        weights = rng.uniform(0, 1, 6) / np.arange(1, 7)
        hum = sum(
            weight * np.sin(2 * np.pi * hum_hz * (number + 1) * times_s)
            for number, weight in enumerate(weights)
        )
        noise = noise * rng.uniform(0.0, 0.5) + hum
    if rng.random() < 0.4:  # bursts, like footsteps, doors or rustling
        envelope = np.zeros(num_samples)
        for _ in range(int(rng.integers(1, 8))):
            onset_s, decay_s = rng.uniform(0, CLIP_S), np.exp(rng.uniform(-4.0, -0.7))
            late_s = times_s - onset_s
            envelope += (late_s > 0) * np.exp(-np.maximum(late_s, 0) / decay_s) * rng.random()
        noise = noise * envelope
    peak = np.abs(noise).max()
    noise *= 10 ** (rng.uniform(-20, -1) / 20) / max(peak, 1e-9)
    return np.repeat(noise.astype(np.float32)[:, None], 2, axis=1)
