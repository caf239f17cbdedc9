"""Composes, plays and mixes one song of `gm_musdb`: a function of its plan and the SoundFont.

A song is a row of sections - verses, choruses, breaks - in which the players of a band come and
go; what they play comes back with the kind of section. Drums or bass stop for a bar, the singer
breathes between phrases. Each of the four stems sounds somewhere in every song. Needs no TensorFlow
Datasets and no JAX, so that render workers start quickly.
"""

import dataclasses

import numpy as np

from data_builders.gm_musdb.plan import SongPlan
from data_builders.rendering import (
    arrange,
    band,
    genres,
    mix,
    parts,
    performance,
    seeding,
    singer,
    synth,
)
from data_builders.rendering.band import Section
from data_builders.rendering.instruments import BAND, CATALOGUE, Instrument
from data_builders.rendering.score import BeatNote, Part
from data_builders.rendering.theory import LeadSheet
from irec_jax import audio
from irec_jax.labels import STEMS

#: Part of every seed: another version is other music.
VERSION = "1.0.0"
#: Peak of the mixture.
PEAK_DB = -1.0
_GENRES = {"pop_roc": 8.0, "cou_fol": 1.0, "lat_sou": 0.5, "jaz_blu": 0.5}
#: How likely the players are in a section: of each stem, and each of those of `other`.
_PRESENCE = {
    "intro": {"drums": 0.6, "bass": 0.6, "vocals": 0.25, "other": 0.7},
    "verse": {"drums": 0.92, "bass": 0.92, "vocals": 0.93, "other": 0.75},
    "chorus": {"drums": 0.98, "bass": 0.97, "vocals": 0.96, "other": 0.92},
    "break": {"drums": 0.35, "bass": 0.5, "vocals": 0.6, "other": 0.7},
}
#: Mean and standard deviation of the stems' levels in dB, about those of MUSDB18.
_LEVELS_DB = {
    "drums": (-8.0, 3.3),
    "bass": (-7.3, 3.6),
    "other": (-7.3, 2.7),
    "vocals": (-5.3, 1.9),
}
#: Who fills `other`: kinds of the catalogue.
_KINDS = {
    "gel": 6.0, "gac": 3.0, "pia": 3.0, "electric piano": 2.0, "keys": 1.0, "org": 2.0,
    "strings": 2.0, "brass": 1.2, "synth": 1.5, "pad": 2.0, "sax": 0.7, "tru": 0.4, "vio": 0.4,
    "vibraphone": 0.3, "accordion": 0.2, "flu": 0.2,
}  # fmt: skip
_SINGERS = ("choir", "voice ooh", "synth voice", "solo voice")


@dataclasses.dataclass(frozen=True)
class BandMember:
    """Who plays what: ``role`` a key of `parts.ROLES`, ``drums``, ``bass`` or ``voice``.

    ``level_db`` and ``pan`` (-1 left to 1) place it within its stem.
    """

    name: str
    stem: str
    instrument: Instrument
    role: str
    level_db: float
    pan: float


@dataclasses.dataclass(frozen=True)
class Score:
    """A composed song: ``cast`` has the names of those who play in each of the sections."""

    sheet: LeadSheet
    sections: tuple[Section, ...]
    players: tuple[BandMember, ...]
    cast: tuple[frozenset[str], ...]
    parts: dict[str, Part]


def compose(plan: SongPlan) -> Score:
    """The notes of a song."""
    rng = seeding.generator(*_key(plan), "form")
    sheet = genres.draw_lead_sheet(
        seeding.generator(*_key(plan), "frame"),
        seeding.draw(rng, _GENRES),
        duration_s=plan.duration_s,
    )
    players = _players(plan, sheet.genre)
    sections = _sections(sheet, plan.duration_s, rng)
    cast = _cast(players, sections, rng)
    return Score(sheet, sections, players, cast, _parts(plan, sheet, sections, players, cast))


def render(plan: SongPlan, *, soundfont: str | None = None) -> dict[str, np.ndarray]:
    """Plays and mixes a song.

    Args:
        plan: an entry of `gm_musdb_plan.plan`.
        soundfont: path of a General MIDI SoundFont; None for the default one.

    Returns:
        Stream of `labels.STREAMS` -> int16 (T, 2) at 44.1 kHz; the mixture is the exact sum of the
        stems.

    Raises:
        UserError: no such SoundFont, or tinysoundfont is missing.
    """
    score = compose(plan)
    player = synth.load_player(soundfont)
    num_samples = round(plan.duration_s * synth.SAMPLE_RATE_HZ)
    stems: dict[str, np.ndarray] = {}
    for one in score.players:
        part = score.parts[one.name]
        sound = player.play(part, num_samples)
        if one.role == "voice":
            words = seeding.generator(*_key(plan), "words", one.name)
            sound = singer.articulate(sound, part.notes, words)
        placed = mix.apply_strip(sound, _strip(plan, one))
        if placed is not None:
            stems[one.stem] = stems.get(one.stem, np.float32(0)) + placed
    stems = {name: _squeezed(plan, name, stem) for name, stem in stems.items()}
    rng = seeding.generator(*_key(plan), "room")
    room = mix.Room(
        decay_s=float(rng.uniform(0.3, 1.6)),
        predelay_s=float(rng.uniform(0.005, 0.03)),
        damping_hz=float(rng.uniform(3500, 11_000)),
        seed=int(rng.integers(1 << 31)),
    )
    strips = {name: _bus(plan, name) for name in stems}
    medium = mix.Mastering(peak_db=0.0)
    _, _, finished = mix.mixdown(stems, strips, room, medium, keep_stems=True)
    return _streams(finished)


def render_example(task: tuple[SongPlan, str | None]) -> dict[str, np.ndarray]:
    """`render` of (plan, soundfont)."""
    plan, soundfont = task
    return render(plan, soundfont=soundfont)


def _streams(stems: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stems to 16 bits, scaled by one gain, and their sum."""
    peak = max(np.abs(one).max() for one in (*stems.values(), sum(stems.values())))
    gain = np.float32(10 ** (PEAK_DB / 20) / peak)
    silence = np.zeros_like(next(iter(stems.values())))  # what a poor SoundFont may give
    rounded = {name: audio.to_int16(stems.get(name, silence) * gain) for name in STEMS}
    total = np.sum(list(rounded.values()), axis=0, dtype=np.int32)
    return {"mixture": total.astype(np.int16), **rounded}


def _key(plan: SongPlan) -> tuple:
    return ("gm_musdb", VERSION, plan.name)


def _players(plan: SongPlan, genre: str) -> tuple[BandMember, ...]:
    """The band: drums, bass, a voice (at times doubled) and two to five others."""
    rng = seeding.generator(*_key(plan), "players")
    players = [
        BandMember("drums", "drums", _choose(rng, "drums", genre), "drums", 0.0, 0.0),
        BandMember("bass", "bass", _choose(rng, "bass", genre), "bass", 0.0, 0.0),
    ]
    kinds = dict(_KINDS)
    for number in range(1, 1 + int(rng.choice((2, 3, 4, 5), p=(0.25, 0.35, 0.25, 0.15)))):
        kind = seeding.draw(rng, kinds)
        kinds[kind] *= 0.35  # two guitars are common, two organs are not
        instrument = _choose(rng, kind, genre)
        leads = rng.random() < 0.15
        pan = float(np.clip(rng.normal(0.0, 0.65), -0.95, 0.95))
        players.append(
            BandMember(
                f"other-{number}",
                "other",
                instrument,
                arrange.choose_role(rng, instrument, leads=leads),
                float(rng.uniform(-9.0, 0.0)) if number > 1 else 0.0,
                pan,
            )
        )
    singers = [one for one in CATALOGUE if one.name in _SINGERS]
    voice = seeding.choice(rng, singers)
    players.append(BandMember("voice", "vocals", voice, "voice", 0.0, float(rng.normal(0.0, 0.04))))
    if rng.random() < 0.35:
        double = voice if rng.random() < 0.5 else seeding.choice(rng, singers)
        level_db, pan = float(rng.uniform(-12.0, -5.0)), float(rng.uniform(-0.7, 0.7))
        players.append(BandMember("double", "vocals", double, "voice", level_db, pan))
    return tuple(players)


def _choose(rng: np.random.Generator, kind: str, genre: str) -> Instrument:
    found = {one.name: one for one in (*CATALOGUE, *BAND) if one.kind == kind}
    weights = {name: one.genres.get(genre, 0.0) for name, one in found.items()}
    if not any(weights.values()):
        weights = dict.fromkeys(weights, 1.0)
    return found[seeding.draw(rng, weights)]


def _sections(sheet: LeadSheet, duration_s: float, rng: np.random.Generator) -> tuple[Section, ...]:
    """Sections of one to eight bars, about three to nine seconds long; the last takes the rest."""
    bar_s = sheet.metre.beats * sheet.beat_s
    num_bars = max(1, int(duration_s / bar_s))  # heard to their ends: the frame has some more
    wanted_s = rng.uniform(3.0, 9.0)
    length = min((1, 2, 4, 8), key=lambda bars: abs(bars * bar_s - wanted_s))
    kind = seeding.draw(rng, {"intro": 1.0, "verse": 3.0, "chorus": 2.0})
    following = {
        "intro": {"verse": 4.0, "chorus": 1.0},
        "verse": {"chorus": 4.0, "verse": 1.0, "break": 1.0},
        "chorus": {"verse": 4.0, "break": 1.0, "chorus": 0.5},
        "break": {"chorus": 3.0, "verse": 1.0},
    }
    sections, first = [], 0
    while first < num_bars:
        end = first + length
        if num_bars - end < max(1, length // 2):
            end = len(sheet.bars)
        stop = seeding.draw(rng, {"": 8.0, "drums": 1.0, "bass": 1.0, "both": 0.7})
        sections.append(Section(first, end, kind, stop if end - first > 1 else ""))
        kind, first = seeding.draw(rng, following[kind]), end
    return tuple(sections)


def _cast(players, sections, rng: np.random.Generator) -> tuple[frozenset[str], ...]:
    """Who plays in each section: in one of them, as a rule the fullest, all stems do."""
    cast = []
    for section in sections:
        odds = _PRESENCE[section.kind]
        drawn = {one.name: rng.random() for one in players}
        cast.append({one.name for one in players if drawn[one.name] < odds[one.stem]})
        if section.kind != "chorus":
            cast[-1].discard("double")
        if not cast[-1] & {"voice", "other-1"}:
            cast[-1].add("other-1")
    full = max(range(len(sections)), key=lambda i: (len(cast[i]), sections[i].end))
    cast[full] |= {"drums", "bass", "voice", "other-1"}
    for one in players:
        if not any(one.name in names for names in cast):
            cast[full].add(one.name)
    return tuple(frozenset(names) for names in cast)


def _parts(plan: SongPlan, sheet: LeadSheet, sections, players, cast) -> dict[str, Part]:
    grooves = {
        kind: band.draw_groove(
            seeding.generator(*_key(plan), "groove", kind), sheet.metre, loud=kind == "chorus"
        )
        for kind in sorted({section.kind for section in sections})
    }
    played = {}
    for one in players:
        mine = [s for s, names in zip(sections, cast, strict=True) if one.name in names]
        # Who doubles a voice sings the same tune.
        tune = "voice" if one.role == "voice" else one.name
        rng = seeding.generator(*_key(plan), "notes", tune)
        if one.role == "drums":
            notes = band.drums(sheet, mine, grooves, rng)
        elif one.role == "bass":
            notes = band.bass(
                sheet,
                mine,
                grooves,
                low=one.instrument.low,
                high=one.instrument.high,
                patterns={k: seeding.generator(*_key(plan), "bass", k) for k in grooves},
                rng=rng,
            )
        else:
            notes = []
            for kind in sorted({section.kind for section in mine}):
                alike = [section for section in mine if section.kind == kind]
                notes += _line(plan, sheet, one, tune, kind, alike)
        perform = singer.perform if one.role == "voice" else performance.perform
        manner = {} if one.role == "voice" else {"role": one.role}
        played[one.name] = perform(
            sorted(notes),
            instrument=one.instrument,
            sheet=sheet,
            pattern=seeding.generator(*_key(plan), "manner", one.name),
            rng=seeding.generator(*_key(plan), "touch", one.name),
            **manner,
        )
    return played


def _line(
    plan: SongPlan, sheet: LeadSheet, player: BandMember, tune: str, kind: str, sections
) -> list[BeatNote]:
    """What a player plays in sections, all of one kind."""
    pattern = seeding.generator(*_key(plan), "pattern", tune, kind)
    song = seeding.generator(*_key(plan), "register", tune)
    sings = player.role == "voice"
    role = "melody" if sings else player.role
    density = float(pattern.uniform(0.2, 0.8) if sings else pattern.uniform(0.1, 0.8))
    low, high = arrange.register(arrange.Musician(tune, player.instrument, role, density), song)
    if sings:  # within a tenth or so, higher in choruses; all voices of the catalogue reach it
        low = 47 + int(song.integers(0, 12)) + 3 * (kind == "chorus")
        high = low + 16
    voice = parts.Voice(
        sheet=sheet,
        low=low,
        high=high,
        density=density,
        rests=float(pattern.uniform(0.3, 0.9)),
        pattern=pattern,
        rng=seeding.generator(*_key(plan), "line", tune, kind),
    )
    line = parts.ROLES[role](voice)
    beats = sheet.metre.beats
    # The singer pauses at the end of phrases, and may begin them after the beat.
    pause = float(seeding.choice(pattern, (0.5, 1.0, 1.0, 2.0, beats))) if sings else 0.0
    late = float(seeding.choice(pattern, (0.0, 0.0, 0.5, 1.0))) if sings else 0.0
    notes = []
    for section in sections:
        first, end = section.first * beats, section.end * beats
        phrase = min(2 * beats, end - first) if sings else end - first
        for start in range(first, end, phrase):
            stop = min(start + phrase, end)
            sung = _cut(line, start + late, max(stop - pause, (start + stop) / 2))
            notes += sung or _cut(line, start, stop)
    return notes


def _cut(notes: list[BeatNote], first: float, end: float) -> list[BeatNote]:
    """The notes that begin within a stretch of beats, none of them held beyond it."""
    return [
        note._replace(length=min(note.length, end - note.beat))
        for note in notes
        if first <= note.beat < end
    ]


def _strip(plan: SongPlan, player: BandMember) -> mix.ChannelStrip:
    """A player's place in its stem, and its colour."""
    rng = seeding.generator(*_key(plan), "strip", player.name)
    eq = _colour(rng, 2.5)
    if player.stem == "other":  # leaves the low end to bass drum and bass
        eq += ((80.0, -float(rng.uniform(4.0, 12.0)), 0.5),)
    elif player.stem == "bass":  # deeper than its samples
        eq += ((60.0, float(rng.uniform(2.0, 7.0)), 0.7), (350.0, -float(rng.uniform(3, 9)), 0.7))
    return mix.ChannelStrip(player.level_db, player.pan, 0.0, eq)


def _colour(rng: np.random.Generator, sd_db: float) -> tuple[tuple[float, float, float], ...]:
    return tuple(
        (
            float(np.exp(rng.uniform(np.log(low), np.log(high)))),
            float(rng.normal(0.0, sd_db)),
            float(rng.uniform(0.5, 1.4)),
        )
        for low, high in ((120, 500), (600, 2000), (2500, 9000))
    )


def _squeezed(plan: SongPlan, name: str, stem: np.ndarray) -> np.ndarray:
    """A stem through its compressor."""
    rng = seeding.generator(*_key(plan), "compressor", name)
    return mix.compress(
        stem, threshold_db=float(rng.uniform(-4.0, 4.0)), ratio=float(rng.uniform(1.5, 5.0))
    )


def _bus(plan: SongPlan, name: str) -> mix.ChannelStrip:
    """How loud a stem is in the mixture, and how far away."""
    rng = seeding.generator(*_key(plan), "bus", name)
    mean_db, sd_db = _LEVELS_DB[name]
    spread = float(np.clip(rng.normal(0.0, 1.0), -2.0, 2.0))
    send_db = float(rng.uniform(-24.0, -10.0)) - {"bass": 10.0, "drums": 3.0}.get(name, 0.0)
    return mix.ChannelStrip(mean_db + sd_db * spread, 0.0, send_db)
