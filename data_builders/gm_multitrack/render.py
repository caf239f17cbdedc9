"""Composition, synthesis and mixing of the `gm_multitrack` pieces.

A piece depends only on its plan and the SoundFont. It consists of phrases. In each phrase, one
player leads, the lowest instruments play the bass, others accompany, and some rest. Everyone plays
in the last phrase, which ends on the tonic. In each role, a player uses the same material
throughout the piece. This module imports neither TensorFlow Datasets nor JAX, so that render
workers start quickly.
"""

import dataclasses

import numpy as np
from numpy.random import Generator

from data_builders.gm_multitrack.plan import PiecePlan
from data_builders.rendering import genres, mix, parts, performance, rhythm_section, seeding, synth
from data_builders.rendering.instruments import CATALOGUE, Instrument
from data_builders.rendering.score import BeatNote, Part, notes_between
from data_builders.rendering.theory import LeadSheet, chord
from irec_jax import audio

#: Music version. It is part of every seed, and any change to the music requires a new version.
VERSION = "1.0.0"
#: Peak level of the loudest stem and of the mix in dB re full scale.
PEAK_DB = -1.0
_TAIL_S = 1.5
_GENRE = "cla"


@dataclasses.dataclass(frozen=True)
class _Seat:
    """Settings for an instrument class in an ensemble.

    Attributes:
        instrument: name in the catalogue.
        lead_weight: weight with which a player is drawn as the lead.
        bass_rank: priority for playing the bass, from 1 (low) to 5 (high); 0 for never.
        level_db: level in the mix.
        pan: position from -1 (left) to 1 (right).
    """

    instrument: str
    lead_weight: float
    bass_rank: int
    level_db: float
    pan: float


_SEATS = {
    "bassoon": _Seat("bassoon", 1.0, 2, -2.0, 0.15),
    "clarinet": _Seat("clarinet", 3.0, 0, -2.0, -0.1),
    "double_bass": _Seat("double bass", 0.1, 5, -2.0, 0.65),
    "flute": _Seat("flute", 4.0, 0, -2.0, -0.2),
    "french_horn": _Seat("french horn", 1.5, 0, -2.0, -0.4),
    "oboe": _Seat("oboe", 3.0, 0, -2.0, 0.1),
    "piano": _Seat("acoustic grand piano", 3.0, 0, 0.0, 0.0),
    "trombone": _Seat("trombone", 0.7, 1, -1.0, 0.35),
    "trumpet": _Seat("trumpet", 2.5, 0, -1.0, 0.2),
    "tuba": _Seat("tuba", 0.1, 4, -2.0, 0.45),
    "viola": _Seat("viola", 1.0, 0, -1.0, 0.3),
    "violin": _Seat("violin", 5.0, 0, 0.0, -0.55),
    "violoncello": _Seat("cello", 1.5, 3, -1.0, 0.5),
}
_INSTRUMENTS: dict[str, Instrument] = {instrument.name: instrument for instrument in CATALOGUE}
_ROLES = {
    "lead": {"melody": 5.0, "runs": 2.0},
    "back": {"counter": 4.0, "riff": 2.0, "melody": 0.7},
}
_PIANO_ROLES = {
    "lead": {"two_hands": 4.0, "chorale": 1.0},
    "back": {"arpeggio": 3.0, "comp": 2.0, "pad": 1.0, "two_hands": 1.0},
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A composed piece.

    Attributes:
        sheet: tempo, metre, key and chords.
        phrases: (first bar, end bar) for each phrase.
        roles: for each phrase, track name -> ``lead``, ``bass`` or ``back``; tracks that rest are
            left out.
        parts: track name -> part.
    """

    sheet: LeadSheet
    phrases: tuple[tuple[int, int], ...]
    roles: tuple[dict[str, str], ...]
    parts: dict[str, Part]

    @property
    def duration_s(self) -> float:
        return _duration_s(self.sheet)


def count_samples(plan: PiecePlan, sample_rate_hz: int = synth.SAMPLE_RATE_HZ) -> int:
    """Return the number of samples in a piece without composing it."""
    num_samples = round(_duration_s(_draw_sheet(plan)) * synth.SAMPLE_RATE_HZ)
    return audio.num_resampled(num_samples, synth.SAMPLE_RATE_HZ, sample_rate_hz)


def compose(plan: PiecePlan) -> Score:
    """Compose a piece."""
    rng = _generator(plan, "form")
    sheet = _draw_sheet(plan)
    phrases = _draw_phrases(sheet, rng)
    roles = _assign_roles(plan, len(phrases), rng)
    played = {}
    for name, label in plan.tracks:
        own_roles = [phrase_roles.get(name) for phrase_roles in roles]
        played[name] = _compose_part(plan, sheet, phrases, own_roles, name, label)
    return Score(sheet, phrases, roles, played)


def render(
    plan: PiecePlan, *, sample_rate_hz: int = synth.SAMPLE_RATE_HZ, soundfont: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Render a piece.

    Args:
        plan: an entry of `plan.plan_pieces`.
        sample_rate_hz: sample rate of the output; synthesis and mixing always run at 44.1 kHz.
        soundfont: as for `synth.load_player`.

    Returns:
        The dry stems, float32 (J, T), in the order of the plan's tracks, and the mix (T, 2).
    """
    score = compose(plan)
    num_samples = count_samples(plan)
    player = synth.load_player(soundfont)
    strips, tracks = {}, {}
    for name, label in plan.tracks:
        strips[name] = _draw_strip(plan, name, label)
        stereo = player.play(score.parts[name], num_samples)
        tracks[name] = stereo.mean(axis=1, keepdims=True, dtype=np.float32)
    room = mix.draw_room(_generator(plan, "room"), decay_s=(1.0, 2.2), min_damping_hz=4000)
    mixture, direct, _ = mix.mixdown(tracks, strips, room, mix.Mastering(peak_db=PEAK_DB))
    # The tracks of a long piece take hundreds of megabytes, so free them as soon as possible.
    del tracks
    stems = np.empty((len(direct), num_samples), np.float32)
    for row, name in enumerate(list(direct)):
        # Panning changes the level of the channel mean; restore it for the dry stem.
        dry = direct.pop(name).mean(axis=1)
        level_db = strips[name].level_db - mix.active_rms_db(dry[:, None])
        stems[row] = dry * np.float32(10 ** (level_db / 20))
    if sample_rate_hz != synth.SAMPLE_RATE_HZ:
        rates_hz = (synth.SAMPLE_RATE_HZ, sample_rate_hz)
        mixture = audio.resample(mixture, *rates_hz)
        stems = np.stack([audio.resample(stem[:, None], *rates_hz)[:, 0] for stem in stems])
    return _normalise_peak(stems), _normalise_peak(mixture)


def render_example(task: tuple[PiecePlan, str | None, int]) -> tuple[np.ndarray, np.ndarray]:
    """Render a task (plan, soundfont, sample rate in Hz).

    Return the stems, int16 (J, T), and the mix, int16 (T, 2).
    """
    plan, soundfont, sample_rate_hz = task
    stems, mixture = render(plan, sample_rate_hz=sample_rate_hz, soundfont=soundfont)
    return audio.to_int16(stems), audio.to_int16(mixture)


def _duration_s(sheet: LeadSheet) -> float:
    return sheet.seconds(sheet.num_beats) + _TAIL_S


def _generator(plan: PiecePlan, *words: str) -> Generator:
    key = ("gm_multitrack", VERSION, plan.split, plan.ensemble, plan.number)
    return seeding.generator(*key, *words)


def _normalise_peak(samples: np.ndarray) -> np.ndarray:
    return samples * np.float32(10 ** (PEAK_DB / 20) / np.abs(samples).max())


def _draw_sheet(plan: PiecePlan) -> LeadSheet:
    """Draw a lead sheet with as many bars as fit, ending on a dominant-tonic cadence."""
    rng = _generator(plan, "frame")
    sheet = genres.draw_lead_sheet(rng, _GENRE, duration_s=plan.max_duration_s)
    bar_s = sheet.metre.beats * sheet.beat_s
    num_bars = int((plan.max_duration_s - _TAIL_S) / bar_s)
    tonic = "I" if sheet.scale == "major" else "Im"
    cadence = tuple((chord(symbol, sheet.tonic),) for symbol in ("V7", tonic))
    return dataclasses.replace(sheet, bars=sheet.bars[: num_bars - 2] + cadence)


def _draw_phrases(sheet: LeadSheet, rng: Generator) -> tuple[tuple[int, int], ...]:
    """Draw phrases of one, two or four bars, 3 to 7 s long; the last phrase may be longer."""
    bar_s = sheet.metre.beats * sheet.beat_s
    target_s = rng.uniform(3.0, 7.0)
    bars = min((1, 2, 4), key=lambda length: abs(length * bar_s - target_s))
    num_phrases = max(1, len(sheet.bars) // bars)
    starts = [bars * index for index in range(num_phrases)]
    return tuple(zip(starts, [*starts[1:], len(sheet.bars)], strict=True))


def _assign_roles(plan: PiecePlan, num_phrases: int, rng: Generator) -> tuple[dict[str, str], ...]:
    """Draw the roles in each phrase; players who have rested longer are more likely to play."""
    labels = dict(plan.tracks)
    rests = dict.fromkeys(labels, 1)  # phrases since each player last played, plus one
    all_roles, leader = [], None
    for phrase in range(num_phrases):
        last = phrase == num_phrases - 1
        share = 1.0 if last else seeding.choice(rng, (0.4, 0.55, 0.7, 0.7, 0.85, 1.0))
        num_players = max(2, round(share * len(labels)))
        weights = {name: _lead_weight(name, labels[name]) for name in labels if name != leader}
        leader = seeding.draw(rng, {name: weights[name] * rests[name] for name in weights})
        chosen = [leader]
        lowest = max(labels, key=lambda name: _SEATS[labels[name]].bass_rank)
        if lowest != leader and _SEATS[labels[lowest]].bass_rank and rng.random() < 0.75:
            chosen.append(lowest)
        while len(chosen) < num_players:
            resting = {name: rests[name] ** 2 for name in labels if name not in chosen}
            chosen.append(seeding.draw(rng, resting))
        rests = {name: 1 if name in chosen else rests[name] + 1 for name in labels}
        all_roles.append(_phrase_roles(chosen, leader, labels))
    return tuple(all_roles)


def _phrase_roles(chosen: list[str], leader: str, labels: dict[str, str]) -> dict[str, str]:
    """Return the roles in a phrase: lead, bass for the lowest instruments, back for the others."""
    roles = dict.fromkeys(chosen, "back") | {leader: "lead"}
    top_rank = max(_SEATS[labels[name]].bass_rank for name in chosen)
    for name in chosen:
        rank = _SEATS[labels[name]].bass_rank
        # In large ensembles, two classes, such as cellos and double basses, share the bass.
        is_bass = rank and (rank == top_rank or (len(chosen) >= 8 and rank == top_rank - 2))
        if name != leader and is_bass:
            roles[name] = "bass"
    return roles


def _lead_weight(name: str, label: str) -> float:
    """Return the weight with which a player is drawn as the lead.

    Second players have lower weights.
    """
    return _SEATS[label].lead_weight * (0.4 if name.endswith("-2") else 1.0)


def _compose_part(plan: PiecePlan, sheet: LeadSheet, phrases, roles, name: str, label: str) -> Part:
    """Compose and perform a player's part, given the role in each phrase (None for a rest)."""
    instrument = _INSTRUMENTS[_SEATS[label].instrument]
    lines = {
        role: _compose_line(plan, sheet, role, name, label, instrument)
        for role in ("lead", "bass", "back")
        if role in roles
    }
    beats = sheet.metre.beats
    notes: list[BeatNote] = []
    for (first, end), role in zip(phrases, roles, strict=True):
        if role is not None:
            notes += notes_between(lines[role], first * beats, end * beats)
    notes = _hold_last_bar(notes, (len(sheet.bars) - 1) * beats, sheet.num_beats)
    role = "melody" if label != "piano" else "two_hands"
    pattern, rng = _generator(plan, "player", name), _generator(plan, "touch", name)
    return performance.perform(
        sorted(notes), instrument=instrument, role=role, sheet=sheet, pattern=pattern, rng=rng
    )


def _compose_line(
    plan: PiecePlan, sheet: LeadSheet, role: str, name: str, label: str, instrument: Instrument
) -> list[BeatNote]:
    """Compose a player's notes in one role over the entire piece."""
    pattern = _generator(plan, "pattern", role, name)
    low, high = instrument.low, instrument.high
    if role == "bass":
        high = min(high, low + 19)
    elif label != "piano" and role == "lead":
        low = max(low, high - 27)
    elif label != "piano":  # below the melody, with second players below the first ones
        low = low + (0 if name.endswith("-2") else 3)
        high = min(high, low + 21)
    density = float(pattern.uniform(*((0.25, 0.9) if role == "lead" else (0.05, 0.6))))
    rests, rng = float(pattern.uniform(0.3, 0.9)), _generator(plan, "notes", role, name)
    voice = parts.Voice(sheet, low, high, density, rests, pattern, rng)
    if role == "bass":
        compose_role = rhythm_section.bass if pattern.random() < 0.6 else parts.counter
    else:
        weights = _PIANO_ROLES if label == "piano" else _ROLES
        compose_role = parts.ROLES[seeding.draw(pattern, weights[role])]
    accent = 0.6 if role == "lead" else 0.0
    return [note._replace(accent=note.accent + accent) for note in compose_role(voice)]


def _hold_last_bar(notes: list[BeatNote], last_bar: float, end: float) -> list[BeatNote]:
    """Replace the notes in the last bar with the bar's first note or chord, held to the end."""
    final = [note for note in notes if note.beat >= last_bar]
    if not final:
        return notes
    first = min(note.beat for note in final)
    held = {n.pitch: n._replace(length=end - n.beat) for n in final if n.beat < first + 0.05}
    return [note for note in notes if note.beat < last_bar] + list(held.values())


def _draw_strip(plan: PiecePlan, name: str, label: str) -> mix.ChannelStrip:
    """Draw a player's channel strip, with level and panning close to those in `_SEATS`."""
    rng = _generator(plan, "strip", name)
    seat = _SEATS[label]
    second = 0.25 if name.endswith("-2") else 0.0
    in_front = label in ("violin", "viola", "violoncello", "double_bass", "piano")
    return mix.ChannelStrip(
        level_db=seat.level_db + float(np.clip(rng.normal(0.0, 1.5), -3.0, 3.0)) - 6.0 * second,
        pan=float(np.clip(seat.pan + second + rng.normal(0.0, 0.05), -0.9, 0.9)),
        send_db=float(rng.uniform(-16.0, -9.0)) + (0.0 if in_front else 3.0),
    )
