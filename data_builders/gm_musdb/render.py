"""Composition, synthesis and mixing of the `gm_musdb` songs.

A song depends only on its plan and the SoundFont. It consists of sections (verses, choruses,
breaks) with changing instrumentation; sections of the same kind share their music. Drums or bass
may stop for a bar, and the singer pauses between phrases. Each of the four stems is audible in
every song. This module imports neither TensorFlow Datasets nor JAX, so that render workers start
quickly.
"""

import dataclasses
from typing import Any

import numpy as np
from numpy.random import Generator

from data_builders.gm_musdb.plan import SongPlan
from data_builders.rendering import arrange, band, mix, parts, performance, seeding, singer, synth
from data_builders.rendering.band import Section
from data_builders.rendering.genres import draw_lead_sheet
from data_builders.rendering.instruments import BAND, CATALOGUE, Instrument
from data_builders.rendering.score import BeatNote, Part, notes_between
from data_builders.rendering.theory import LeadSheet
from irec_jax import audio
from irec_jax.labels import STEMS

#: Music version. It is part of every seed, and any change to the music requires a new version.
VERSION = "1.0.0"
#: Peak level of the loudest stream in dB re full scale.
PEAK_DB = -1.0
_GENRE_WEIGHTS = {"pop_roc": 8.0, "cou_fol": 1.0, "lat_sou": 0.5, "jaz_blu": 0.5}
#: Kind of section -> stem -> probability that a musician plays in the section.
_PRESENCE = {
    "intro": {"drums": 0.6, "bass": 0.6, "vocals": 0.25, "other": 0.7},
    "verse": {"drums": 0.92, "bass": 0.92, "vocals": 0.93, "other": 0.75},
    "chorus": {"drums": 0.98, "bass": 0.97, "vocals": 0.96, "other": 0.92},
    "break": {"drums": 0.35, "bass": 0.5, "vocals": 0.6, "other": 0.7},
}
#: Kind of section -> weight of each kind that may follow it.
_NEXT_SECTION = {
    "intro": {"verse": 4.0, "chorus": 1.0},
    "verse": {"chorus": 4.0, "verse": 1.0, "break": 1.0},
    "chorus": {"verse": 4.0, "break": 1.0, "chorus": 0.5},
    "break": {"chorus": 3.0, "verse": 1.0},
}
#: Mean and standard deviation of each stem's level in dB, close to those in MUSDB18.
_LEVELS_DB = {
    "drums": (-8.0, 3.3), "bass": (-7.3, 3.6), "other": (-7.3, 2.7), "vocals": (-5.3, 1.9),
}  # fmt: skip
#: Kind of instrument -> weight with which it is drawn for the `other` stem.
_OTHER_WEIGHTS = {
    "gel": 6.0, "gac": 3.0, "pia": 3.0, "electric piano": 2.0, "keys": 1.0, "org": 2.0,
    "strings": 2.0, "brass": 1.2, "synth": 1.5, "pad": 2.0, "sax": 0.7, "tru": 0.4, "vio": 0.4,
    "vibraphone": 0.3, "accordion": 0.2, "flu": 0.2,
}  # fmt: skip
_VOICES = ("choir", "voice ooh", "synth voice", "solo voice")


@dataclasses.dataclass(frozen=True)
class BandMember:
    """A musician in the band.

    Attributes:
        name: name within the song.
        stem: the stem that contains the part.
        instrument: the musician's instrument.
        role: a key of `parts.ROLES`, ``drums``, ``bass`` or ``voice``.
        level_db: level within the stem.
        pan: position from -1 (left) to 1 (right).
    """

    name: str
    stem: str
    instrument: Instrument
    role: str
    level_db: float
    pan: float

    @property
    def is_singer(self) -> bool:
        return self.role == "voice"

    @property
    def melody_name(self) -> str:
        """Name that seeds the notes; a doubling voice shares it with the lead singer."""
        return "voice" if self.is_singer else self.name


@dataclasses.dataclass(frozen=True)
class Score:
    """A composed song; ``instrumentation`` names the members who play in each section."""

    sheet: LeadSheet
    sections: tuple[Section, ...]
    members: tuple[BandMember, ...]
    instrumentation: tuple[frozenset[str], ...]
    parts: dict[str, Part]


def compose(plan: SongPlan) -> Score:
    """Compose a song."""
    rng = _generator(plan, "form")
    genre, frame = seeding.draw(rng, _GENRE_WEIGHTS), _generator(plan, "frame")
    sheet = draw_lead_sheet(frame, genre, duration_s=plan.duration_s)
    members = _draw_members(plan, sheet.genre)
    sections = _draw_sections(sheet, plan.duration_s, rng)
    instrumentation = _draw_instrumentation(members, sections, rng)
    grooves = {}
    for kind in sorted({section.kind for section in sections}):
        groove_rng = _generator(plan, "groove", kind)
        grooves[kind] = band.draw_groove(groove_rng, sheet.metre, loud=kind == "chorus")
    played = {}
    for member in members:
        cast = zip(sections, instrumentation, strict=True)
        own = [section for section, names in cast if member.name in names]
        notes = _notes(plan, sheet, member, own, grooves)
        played[member.name] = _perform(plan, sheet, member, notes)
    return Score(sheet, sections, members, instrumentation, played)


def render(plan: SongPlan, *, soundfont: str | None = None) -> dict[str, np.ndarray]:
    """Render a song.

    Args:
        plan: an entry of `plan.plan_songs`.
        soundfont: path to a General MIDI SoundFont; None for the default one.

    Returns:
        A dict that maps each of `labels.STREAMS` to its samples, int16 (T, 2) at 44.1 kHz. The
        mixture is the exact sum of the stems.
    """
    score = compose(plan)
    player = synth.load_player(soundfont)
    num_samples = round(plan.duration_s * synth.SAMPLE_RATE_HZ)
    stems: dict[str, np.ndarray] = {}
    for member in score.members:
        part = score.parts[member.name]
        track = player.play(part, num_samples)
        if member.is_singer:
            rng = _generator(plan, "words", member.name)
            track = singer.articulate(track, part.notes, rng)
        balanced = mix.apply_strip(track, _draw_member_strip(plan, member))
        if balanced is not None:
            stems[member.stem] = stems.get(member.stem, np.float32(0)) + balanced
    stems = {name: _compress(plan, name, stem) for name, stem in stems.items()}
    room = mix.draw_room(_generator(plan, "room"), decay_s=(0.3, 1.6), min_damping_hz=3500)
    strips = {name: _draw_stem_strip(plan, name) for name in stems}
    _, _, finished = mix.mixdown(stems, strips, room, mix.Mastering(peak_db=0.0), keep_stems=True)
    return _streams(finished)


def render_example(task: tuple[SongPlan, str | None]) -> dict[str, np.ndarray]:
    """Render a task (plan, soundfont); see `render`."""
    plan, soundfont = task
    return render(plan, soundfont=soundfont)


def _streams(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scale the stems by a common gain, convert them to 16 bits and add the mixture (their sum)."""
    peak = max(np.abs(stem).max() for stem in (*stems.values(), sum(stems.values())))
    gain = np.float32(10 ** (PEAK_DB / 20) / peak)
    # A stem is missing if it is silent with this SoundFont.
    silence = np.zeros_like(next(iter(stems.values())))
    rounded = {name: audio.to_int16(stems.get(name, silence) * gain) for name in STEMS}
    total = np.stack(list(rounded.values())).sum(axis=0, dtype=np.int32)
    return {"mixture": total.astype(np.int16), **rounded}


def _generator(plan: SongPlan, *words: str) -> Generator:
    return seeding.generator("gm_musdb", VERSION, plan.name, *words)


def _draw_members(plan: SongPlan, genre: str) -> tuple[BandMember, ...]:
    """Draw the band: drums, bass, two to five others, and a voice that may be doubled."""
    rng = _generator(plan, "players")
    members = [
        BandMember("drums", "drums", _choose_instrument(rng, "drums", genre), "drums", 0.0, 0.0),
        BandMember("bass", "bass", _choose_instrument(rng, "bass", genre), "bass", 0.0, 0.0),
    ]
    weights = dict(_OTHER_WEIGHTS)
    for number in range(1, 1 + int(rng.choice((2, 3, 4, 5), p=(0.25, 0.35, 0.25, 0.15)))):
        kind = seeding.draw(rng, weights)
        weights[kind] *= 0.35  # two of a kind are rare
        instrument = _choose_instrument(rng, kind, genre)
        leads = rng.random() < 0.15
        pan = float(np.clip(rng.normal(0.0, 0.65), -0.95, 0.95))
        role = arrange.choose_role(rng, instrument, leads=leads)
        level_db = float(rng.uniform(-9.0, 0.0)) if number > 1 else 0.0
        members.append(BandMember(f"other-{number}", "other", instrument, role, level_db, pan))
    voices = [instrument for instrument in CATALOGUE if instrument.name in _VOICES]
    voice, pan = seeding.choice(rng, voices), float(rng.normal(0.0, 0.04))
    members.append(BandMember("voice", "vocals", voice, "voice", 0.0, pan))
    if rng.random() < 0.35:
        double = voice if rng.random() < 0.5 else seeding.choice(rng, voices)
        level_db, pan = float(rng.uniform(-12.0, -5.0)), float(rng.uniform(-0.7, 0.7))
        members.append(BandMember("double", "vocals", double, "voice", level_db, pan))
    return tuple(members)


def _choose_instrument(rng: Generator, kind: str, genre: str) -> Instrument:
    """Draw an instrument of a kind by its weight in a genre; uniformly if all weights are 0."""
    candidates = {own.name: own for own in (*CATALOGUE, *BAND) if own.kind == kind}
    weights = {name: own.genres.get(genre, 0.0) for name, own in candidates.items()}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    return candidates[seeding.draw(rng, weights)]


def _draw_sections(sheet: LeadSheet, duration_s: float, rng: Generator) -> tuple[Section, ...]:
    """Draw sections of one to eight bars, about 3 to 9 s long; the last one may be longer."""
    bar_s = sheet.metre.beats * sheet.beat_s
    num_bars = max(1, int(duration_s / bar_s))  # complete bars; the lead sheet has one or two more
    target_s = rng.uniform(3.0, 9.0)
    length = min((1, 2, 4, 8), key=lambda bars: abs(bars * bar_s - target_s))
    kind = seeding.draw(rng, {"intro": 1.0, "verse": 3.0, "chorus": 2.0})
    sections, first = [], 0
    while first < num_bars:
        end = first + length
        if num_bars - end < max(1, length // 2):
            end = len(sheet.bars)
        stop = seeding.draw(rng, {"": 8.0, "drums": 1.0, "bass": 1.0, "both": 0.7})
        sections.append(Section(first, end, kind, stop if end - first > 1 else ""))
        kind, first = seeding.draw(rng, _NEXT_SECTION[kind]), end
    return tuple(sections)


def _draw_instrumentation(
    members: tuple[BandMember, ...], sections: tuple[Section, ...], rng: Generator
) -> tuple[frozenset[str], ...]:
    """Draw the members who play in each section; all stems play in the fullest section."""
    instrumentation: list[set[str]] = []
    for section in sections:
        probabilities = _PRESENCE[section.kind]
        playing = {m.name for m in members if rng.random() < probabilities[m.stem]}
        if section.kind != "chorus":
            playing.discard("double")
        if not playing & {"voice", "other-1"}:
            playing.add("other-1")
        instrumentation.append(playing)
    fullest = max(range(len(sections)), key=lambda i: (len(instrumentation[i]), sections[i].end))
    instrumentation[fullest] |= {"drums", "bass", "voice", "other-1"}
    absent = {member.name for member in members}.difference(*instrumentation)
    instrumentation[fullest] |= absent
    return tuple(frozenset(names) for names in instrumentation)


def _notes(
    plan: SongPlan, sheet: LeadSheet, member: BandMember, sections: list[Section], grooves: dict
) -> list[BeatNote]:
    """Compose a member's notes for the sections in which the member plays."""
    rng = _generator(plan, "notes", member.melody_name)
    if member.role == "drums":
        return band.drums(sheet, sections, grooves, rng)
    if member.role == "bass":
        patterns = {kind: _generator(plan, "bass", kind) for kind in grooves}
        register = dict(low=member.instrument.low, high=member.instrument.high)
        return band.bass(sheet, sections, grooves, **register, patterns=patterns, rng=rng)
    notes = []
    for kind in sorted({section.kind for section in sections}):
        alike = [section for section in sections if section.kind == kind]
        notes += _section_notes(plan, sheet, member, kind, alike)
    return notes


def _perform(plan: SongPlan, sheet: LeadSheet, member: BandMember, notes: list[BeatNote]) -> Part:
    """Perform a member's notes by singing or playing them."""
    pattern, rng = _generator(plan, "manner", member.name), _generator(plan, "touch", member.name)
    settings: dict[str, Any] = dict(
        instrument=member.instrument, sheet=sheet, pattern=pattern, rng=rng
    )
    if member.is_singer:
        return singer.perform(sorted(notes), **settings)
    return performance.perform(sorted(notes), role=member.role, **settings)


def _section_notes(
    plan: SongPlan, sheet: LeadSheet, member: BandMember, kind: str, sections: list[Section]
) -> list[BeatNote]:
    """Compose the notes of a singer or pitched instrument for sections of one kind."""
    pattern = _generator(plan, "pattern", member.melody_name, kind)
    notes = parts.ROLES["melody" if member.is_singer else member.role](
        _draw_voice(plan, sheet, member, kind, pattern)
    )
    beats = sheet.metre.beats
    # Singers pause at the end of a phrase and may start a phrase after the beat.
    pause = float(seeding.choice(pattern, (0.5, 1.0, 1.0, 2.0, beats))) if member.is_singer else 0.0
    delay = float(seeding.choice(pattern, (0.0, 0.0, 0.5, 1.0))) if member.is_singer else 0.0
    played = []
    for section in sections:
        first, end = section.first * beats, section.end * beats
        phrase = min(2 * beats, end - first) if member.is_singer else end - first
        for start in range(first, end, phrase):
            stop = min(start + phrase, end)
            shortened = notes_between(notes, start + delay, max(stop - pause, (start + stop) / 2))
            played += shortened or notes_between(notes, start, stop)
    return played


def _draw_voice(
    plan: SongPlan, sheet: LeadSheet, member: BandMember, kind: str, pattern: Generator
) -> parts.Voice:
    """Draw a member's register and density for sections of one kind."""
    name = member.melody_name
    rng = _generator(plan, "register", name)
    role = "melody" if member.is_singer else member.role
    density = float(pattern.uniform(0.2 if member.is_singer else 0.1, 0.8))
    low, high = arrange.register(arrange.Musician(name, member.instrument, role, density), rng)
    if member.is_singer:  # a tenth that all voices can sing, higher in choruses
        low = 47 + int(rng.integers(0, 12)) + 3 * (kind == "chorus")
        high = low + 16
    rests, rng = float(pattern.uniform(0.3, 0.9)), _generator(plan, "line", name, kind)
    return parts.Voice(sheet, low, high, density, rests, pattern, rng)


def _draw_member_strip(plan: SongPlan, member: BandMember) -> mix.ChannelStrip:
    """Return a member's channel strip, with a random equaliser."""
    rng = _generator(plan, "strip", member.name)
    eq = mix.draw_eq(rng)
    if member.stem == "other":  # leave room for the bass drum and the bass
        eq += ((80.0, -float(rng.uniform(4.0, 12.0)), 0.5),)
    elif member.stem == "bass":  # boost low frequencies, which the samples lack
        eq += ((60.0, float(rng.uniform(2.0, 7.0)), 0.7), (350.0, -float(rng.uniform(3, 9)), 0.7))
    return mix.ChannelStrip(member.level_db, member.pan, 0.0, eq)


def _compress(plan: SongPlan, name: str, stem: np.ndarray) -> np.ndarray:
    """Compress a stem with a random threshold and ratio."""
    rng = _generator(plan, "compressor", name)
    threshold_db, ratio = float(rng.uniform(-4.0, 4.0)), float(rng.uniform(1.5, 5.0))
    return mix.compress(stem, threshold_db=threshold_db, ratio=ratio)


def _draw_stem_strip(plan: SongPlan, name: str) -> mix.ChannelStrip:
    """Draw a stem's level and reverberation send in the mixture."""
    rng = _generator(plan, "bus", name)
    mean_db, sd_db = _LEVELS_DB[name]
    deviation = float(np.clip(rng.normal(0.0, 1.0), -2.0, 2.0))
    send_db = float(rng.uniform(-24.0, -10.0)) - {"bass": 10.0, "drums": 3.0}.get(name, 0.0)
    return mix.ChannelStrip(mean_db + sd_db * deviation, 0.0, send_db)
