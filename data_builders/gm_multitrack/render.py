"""Composes, plays and mixes one piece of `gm_multitrack`: a function of its plan and the SoundFont.

A piece is a row of phrases. In each of them some players rest, one leads, the lowest carry the bass
and the others accompany; all play the last one, which ends on the tonic. What a player plays in a
role comes back whenever the role does. Needs no TensorFlow Datasets and no JAX, so that render
workers start quickly.
"""

import dataclasses

import numpy as np

from data_builders.gm_multitrack.plan import PiecePlan
from data_builders.rendering import genres, mix, parts, performance, rhythm_section, seeding, synth
from data_builders.rendering.instruments import CATALOGUE, Instrument
from data_builders.rendering.score import BeatNote, Part
from data_builders.rendering.theory import LeadSheet, chord
from irec_jax import audio

#: Part of every seed: another version is other music.
VERSION = "1.0.0"
#: Peak of the loudest stem, and of the mix.
PEAK_DB = -1.0
_TAIL_S = 1.5
_GENRE = "cla"


@dataclasses.dataclass(frozen=True)
class _Seat:
    """How a class of instrument sits in an ensemble.

    ``player`` is its name in the catalogue; ``leads`` how often it has the tune; ``depth`` orders
    the bass instruments, 0 for none; ``level_db`` and ``pan`` (-1 left to 1) its place in the mix.
    """

    player: str
    leads: float
    depth: int
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
_INSTRUMENTS: dict[str, Instrument] = {one.name: one for one in CATALOGUE}
_LEAD_ROLES = {"melody": 5.0, "runs": 2.0}
_BACK_ROLES = {"counter": 4.0, "riff": 2.0, "melody": 0.7}
_PIANO_LEAD_ROLES = {"two_hands": 4.0, "chorale": 1.0}
_PIANO_BACK_ROLES = {"arpeggio": 3.0, "comp": 2.0, "pad": 1.0, "two_hands": 1.0}


@dataclasses.dataclass(frozen=True)
class Score:
    """A composed piece.

    ``parts`` by track name; ``phrases`` are (first bar, end bar); ``roles`` has, for each phrase,
    track name -> lead, bass or back: who is missing rests.
    """

    sheet: LeadSheet
    phrases: tuple[tuple[int, int], ...]
    roles: tuple[dict[str, str], ...]
    parts: dict[str, Part]

    @property
    def duration_s(self) -> float:
        return self.sheet.seconds(self.sheet.num_beats) + _TAIL_S


@dataclasses.dataclass(frozen=True)
class RenderedPiece:
    """``stems`` float32 (J, T), dry, in the order of the plan's tracks; ``mix`` float32 (T, 2)."""

    stems: np.ndarray
    mix: np.ndarray


def compose(plan: PiecePlan) -> Score:
    """The notes of a piece."""
    rng = seeding.generator(*_key(plan), "form")
    sheet = _frame(plan)
    phrases = _phrases(sheet, rng)
    roles = _cast(plan, len(phrases), rng)
    played = {}
    for name, label in plan.tracks:
        played[name] = _part(plan, sheet, phrases, [one.get(name) for one in roles], name, label)
    return Score(sheet, phrases, roles, played)


def render(
    plan: PiecePlan, *, sample_rate_hz: int = synth.SAMPLE_RATE_HZ, soundfont: str | None = None
) -> RenderedPiece:
    """Plays and mixes a piece.

    Args:
        plan: an entry of `gm_multitrack_plan.plan`.
        sample_rate_hz: of the result; the sounds are made at 44.1 kHz.
        soundfont: path of a General MIDI SoundFont; None for the default one.

    Raises:
        UserError: no such SoundFont, or tinysoundfont is missing.
    """
    score = compose(plan)
    num_samples = round(score.duration_s * synth.SAMPLE_RATE_HZ)
    player = synth.load_player(soundfont)
    strips, sounds = {}, {}
    for name, label in plan.tracks:
        strips[name] = _strip(plan, name, label)
        sound = player.play(score.parts[name], num_samples)
        sounds[name] = sound.mean(axis=1, keepdims=True, dtype=np.float32)
    rng = seeding.generator(*_key(plan), "room")
    room = mix.Room(
        decay_s=float(rng.uniform(1.0, 2.2)),
        predelay_s=float(rng.uniform(0.005, 0.03)),
        damping_hz=float(rng.uniform(4000, 11_000)),
        seed=int(rng.integers(1 << 31)),
    )
    mixture, direct, _ = mix.mixdown(sounds, strips, room, mix.Mastering(peak_db=PEAK_DB))
    stems = np.empty((len(direct), num_samples), np.float32)
    for row, name in enumerate(direct):
        # Panning takes from the mean of the channels what it must not take from the dry stem.
        dry = direct[name].mean(axis=1)
        level_db = strips[name].level_db - mix.active_rms_db(dry[:, None])
        stems[row] = dry * np.float32(10 ** (level_db / 20))
    if sample_rate_hz != synth.SAMPLE_RATE_HZ:
        rates_hz = (synth.SAMPLE_RATE_HZ, sample_rate_hz)
        mixture = audio.resample(mixture, *rates_hz)
        stems = np.stack([audio.resample(stem[:, None], *rates_hz)[:, 0] for stem in stems])
    return RenderedPiece(_to_peak(stems), _to_peak(mixture))


def render_example(task: tuple[PiecePlan, str | None, int]) -> tuple[np.ndarray, np.ndarray]:
    """Stems int16 (J, T) and mix int16 (T, 2) of (plan, soundfont, sample rate in Hz)."""
    plan, soundfont, sample_rate_hz = task
    piece = render(plan, sample_rate_hz=sample_rate_hz, soundfont=soundfont)
    return audio.to_int16(piece.stems), audio.to_int16(piece.mix)


def _key(plan: PiecePlan) -> tuple:
    return ("gm_multitrack", VERSION, plan.split, plan.ensemble, plan.number)


def _to_peak(samples: np.ndarray) -> np.ndarray:
    return samples * np.float32(10 ** (PEAK_DB / 20) / np.abs(samples).max())


def _frame(plan: PiecePlan) -> LeadSheet:
    """As many bars as fit, closing with dominant and tonic."""
    sheet = genres.draw_lead_sheet(
        seeding.generator(*_key(plan), "frame"), _GENRE, duration_s=plan.max_duration_s
    )
    bar_s = sheet.metre.beats * sheet.beat_s
    num_bars = int((plan.max_duration_s - _TAIL_S) / bar_s)
    tonic = "I" if sheet.scale == "major" else "Im"
    close = tuple((chord(symbol, sheet.tonic),) for symbol in ("V7", tonic))
    return dataclasses.replace(sheet, bars=sheet.bars[: num_bars - 2] + close)


def _phrases(sheet: LeadSheet, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
    """Phrases of one, two or four bars, three to seven seconds long; the last takes the rest."""
    bar_s = sheet.metre.beats * sheet.beat_s
    wanted_s = rng.uniform(3.0, 7.0)
    bars = min((1, 2, 4), key=lambda length: abs(length * bar_s - wanted_s))
    num_phrases = max(1, len(sheet.bars) // bars)
    starts = [bars * index for index in range(num_phrases)]
    return tuple(zip(starts, [*starts[1:], len(sheet.bars)], strict=True))


def _cast(plan: PiecePlan, num_phrases: int, rng: np.random.Generator) -> tuple[dict, ...]:
    """Who plays what in each phrase. Those who have rested longest are the likeliest to enter."""
    labels = dict(plan.tracks)
    rested = dict.fromkeys(labels, 1)
    cast, leader = [], None
    for phrase in range(num_phrases):
        last = phrase == num_phrases - 1
        share = 1.0 if last else seeding.choice(rng, (0.4, 0.55, 0.7, 0.7, 0.85, 1.0))
        num_players = max(2, round(share * len(labels)))
        odds = {name: _leads(name, labels[name]) for name in labels if name != leader}
        leader = seeding.draw(rng, {name: odds[name] * rested[name] for name in odds})
        chosen = [leader]
        basses = sorted(labels, key=lambda name: -_SEATS[labels[name]].depth)
        if basses[0] != leader and _SEATS[labels[basses[0]]].depth and rng.random() < 0.75:
            chosen.append(basses[0])
        while len(chosen) < num_players:
            chosen.append(seeding.draw(rng, {n: rested[n] ** 2 for n in labels if n not in chosen}))
        rested = {name: 1 if name in chosen else rested[name] + 1 for name in labels}
        roles = dict.fromkeys(chosen, "back") | {leader: "lead"}
        deepest = max(_SEATS[labels[name]].depth for name in chosen)
        for name in chosen:
            # In large ensembles two kinds share the bass, as cellos and basses do.
            depth = _SEATS[labels[name]].depth
            shares = depth and (depth == deepest or (len(chosen) >= 8 and depth == deepest - 2))
            if name != leader and shares:
                roles[name] = "bass"
        cast.append(roles)
    return tuple(cast)


def _leads(name: str, label: str) -> float:
    """Firsts have the tune more often than seconds."""
    return _SEATS[label].leads * (0.4 if name.endswith("-2") else 1.0)


def _part(plan: PiecePlan, sheet: LeadSheet, phrases, roles, name: str, label: str) -> Part:
    """What one player plays: the notes of its role in each phrase."""
    instrument = _INSTRUMENTS[_SEATS[label].player]
    lines = {
        role: _line(plan, sheet, role, name, label, instrument)
        for role in ("lead", "bass", "back")
        if role in roles
    }
    beats = sheet.metre.beats
    notes: list[BeatNote] = []
    for (first, end), role in zip(phrases, roles, strict=True):
        if role is not None:
            notes += _cut(lines[role], first * beats, end * beats)
    notes = _close(notes, (len(sheet.bars) - 1) * beats, sheet.num_beats)
    return performance.perform(
        sorted(notes),
        instrument=instrument,
        role="melody" if label != "piano" else "two_hands",
        sheet=sheet,
        pattern=seeding.generator(*_key(plan), "player", name),
        rng=seeding.generator(*_key(plan), "touch", name),
    )


def _line(plan: PiecePlan, sheet: LeadSheet, role: str, name: str, label: str, instrument) -> list:
    """A player's notes in a role over the whole piece."""
    pattern = seeding.generator(*_key(plan), "pattern", role, name)
    low, high = instrument.low, instrument.high
    if role == "bass":
        high = min(high, low + 19)
    elif label != "piano" and role == "lead":
        low = max(low, high - 27)
    elif label != "piano":  # below the tune; seconds below firsts
        low = low + (0 if name.endswith("-2") else 3)
        high = min(high, low + 21)
    voice = parts.Voice(
        sheet=sheet,
        low=low,
        high=high,
        density=float(pattern.uniform(0.25, 0.9) if role == "lead" else pattern.uniform(0.05, 0.6)),
        rests=float(pattern.uniform(0.3, 0.9)),
        pattern=pattern,
        rng=seeding.generator(*_key(plan), "notes", role, name),
    )
    if role == "bass":
        compose = rhythm_section.bass if pattern.random() < 0.6 else parts.counter
    else:
        odds = {
            ("lead", True): _PIANO_LEAD_ROLES, ("back", True): _PIANO_BACK_ROLES,
            ("lead", False): _LEAD_ROLES, ("back", False): _BACK_ROLES,
        }[role, label == "piano"]  # fmt: skip
        compose = parts.ROLES[seeding.draw(pattern, odds)]
    accent = 0.6 if role == "lead" else 0.0
    return [note._replace(accent=note.accent + accent) for note in compose(voice)]


def _cut(notes: list[BeatNote], first: float, end: float) -> list[BeatNote]:
    """The notes that begin within a phrase, none of them held beyond it."""
    return [
        note._replace(length=min(note.length, end - note.beat))
        for note in notes
        if first <= note.beat < end
    ]


def _close(notes: list[BeatNote], last_bar: float, end: float) -> list[BeatNote]:
    """The last bar is one held note or chord."""
    final = [note for note in notes if note.beat >= last_bar]
    if not final:
        return notes
    first = min(note.beat for note in final)
    held = {n.pitch: n._replace(length=end - n.beat) for n in final if n.beat < first + 0.05}
    return [note for note in notes if note.beat < last_bar] + list(held.values())


def _strip(plan: PiecePlan, name: str, label: str) -> mix.ChannelStrip:
    """A player's place in the hall: seats are those of an orchestra, give and take."""
    rng = seeding.generator(*_key(plan), "strip", name)
    seat = _SEATS[label]
    second = 0.25 if name.endswith("-2") else 0.0
    strings = label in ("violin", "viola", "violoncello", "double_bass", "piano")
    return mix.ChannelStrip(
        level_db=seat.level_db + float(np.clip(rng.normal(0.0, 1.5), -3.0, 3.0)) - 6.0 * second,
        pan=float(np.clip(seat.pan + second + rng.normal(0.0, 0.05), -0.9, 0.9)),
        send_db=float(rng.uniform(-16.0, -9.0)) + (0.0 if strings else 3.0),
    )
