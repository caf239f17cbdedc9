"""Bass lines and drum grooves that repeat throughout a piece, unlike those in `band`."""

from data_builders.rendering import seeding, theory
from data_builders.rendering.genres import CRASH, GENRES, LOW_TOM, SNARE
from data_builders.rendering.parts import Voice
from data_builders.rendering.score import BeatNote

# One-bar patterns in 4/4: (onset in beats, length in beats, tone as in `bass_pitch`).
_BASS_PATTERNS = {
    "roots": ((0, 2, 0), (2, 2, 0)),
    "two_feel": ((0, 1.5, 0), (2, 1.5, 1)),
    "eighths": tuple((step / 2, 0.5, 0) for step in range(8)),
    "octaves": tuple((step / 2, 0.4, 2 * (step % 2)) for step in range(8)),
    "syncopated": ((0, 1.4, 0), (1.5, 0.5, 0), (2.5, 1, 1), (3.5, 0.5, 0)),
    "bossa": ((0, 1.5, 0), (1.5, 0.5, 1), (2, 1.5, 1), (3.5, 0.5, 0)),
    "tumbao": ((1.5, 1.5, 1), (3, 1, 2)),
}
_STROKE_ACCENTS = {"X": 1.0, "x": 0.3, "o": -1.2}


def bass_pitch(sheet: theory.LeadSheet, beat: float, tone: int, *, low: int, high: int) -> int:
    """Return the MIDI pitch of a bass note for the chord at a beat.

    Args:
        sheet: chords.
        beat: onset in beats.
        tone: 0 for the root, 1 for the fifth, 2 for the octave.
        low, high: register; a note above it is played an octave lower.
    """
    pitch = low + (sheet.chord_at(beat).root - low) % 12 + (0, 7, 12)[tone]
    return pitch if pitch <= high else pitch - 12


def bass(voice: Voice) -> list[BeatNote]:
    """Compose a bass line in one of the genre's styles."""
    sheet, style = voice.sheet, seeding.choice(voice.pattern, GENRES[voice.sheet.genre].bass)
    if style == "walking":
        return _walking_bass(voice)
    pattern = _BASS_PATTERNS[style]
    if sheet.metre.beats != 4:
        pattern = ((0, sheet.metre.beats * 0.6, 0), (sheet.metre.beats - 1, 0.9, 1))
    notes = []
    for bar in range(len(sheet.bars)):
        for onset, length, tone in pattern:
            beat = bar * sheet.metre.beats + onset
            pitch = bass_pitch(sheet, beat, tone, low=voice.low, high=voice.high)
            notes.append(BeatNote(beat, length, pitch, 0.3))
    return notes


def _walking_bass(voice: Voice) -> list[BeatNote]:
    """Compose quarter notes: the root at each chord change, then nearby chord tones."""
    sheet, notes, pitch = voice.sheet, [], voice.low + 10
    for beat in range(sheet.num_beats):
        harmony = sheet.chord_at(beat)
        chord_change = beat == 0 or sheet.chord_end(beat - 1) <= beat
        tones = theory.chord_pitches(harmony, voice.low, voice.high)
        roots = [tone for tone in tones if tone % 12 == harmony.root]
        choices = roots if chord_change else [tone for tone in tones if tone != pitch]
        nearest = sorted(choices, key=lambda tone: (abs(tone - pitch), tone))
        pitch = nearest[0] if chord_change else seeding.choice(voice.rng, nearest[:3])
        notes.append(BeatNote(float(beat), 0.95, pitch, 0.2 * (beat % 2)))
    return notes


def drums(voice: Voice) -> list[BeatNote]:
    """Repeat one of the genre's grooves, without some ghost notes and with occasional fills."""
    sheet = voice.sheet
    groove = seeding.choice(voice.pattern, GENRES[sheet.genre].grooves[sheet.metre])
    step_beats = 1 / sheet.metre.steps
    notes = []
    for bar in range(len(sheet.bars)):
        start = bar * sheet.metre.beats
        for key, strokes in groove.items():
            for step, stroke in enumerate(strokes):
                if stroke != "." and not (stroke == "o" and voice.rng.random() < 0.35):
                    beat = start + step * step_beats
                    notes.append(BeatNote(beat, 0.2, key, _STROKE_ACCENTS[stroke]))
        if bar % 4 == 3 and voice.rng.random() < 0.6:
            notes += _fill(voice, start + sheet.metre.beats - 1)
    return sorted(notes)


def _fill(voice: Voice, beat: float) -> list[BeatNote]:
    """Compose a one-beat fill on snare and toms, followed by a crash in some genres."""
    steps = voice.sheet.metre.steps
    keys = (SNARE, SNARE, LOW_TOM + 3, LOW_TOM)
    fill = [BeatNote(beat + i / steps, 0.2, keys[i], 0.3 + 0.1 * i) for i in range(steps)]
    if voice.sheet.genre in ("pop_roc", "jaz_blu"):
        fill.append(BeatNote(beat + 1, 0.5, CRASH, 0.6))
    return fill
