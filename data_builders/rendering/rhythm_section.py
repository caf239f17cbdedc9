"""Bass lines and drum grooves."""

from data_builders.rendering import seeding, theory
from data_builders.rendering.genres import CRASH, GENRES, LOW_TOM, SNARE
from data_builders.rendering.parts import Voice
from data_builders.rendering.score import BeatNote

# One bar of 4/4: (beat, length, tone), tone 0 the root, 1 the fifth, 2 the octave.
_STYLES = {
    "roots": ((0, 2, 0), (2, 2, 0)),
    "two_feel": ((0, 1.5, 0), (2, 1.5, 1)),
    "eighths": tuple((step / 2, 0.5, 0) for step in range(8)),
    "octaves": tuple((step / 2, 0.4, 2 * (step % 2)) for step in range(8)),
    "syncopated": ((0, 1.4, 0), (1.5, 0.5, 0), (2.5, 1, 1), (3.5, 0.5, 0)),
    "bossa": ((0, 1.5, 0), (1.5, 0.5, 1), (2, 1.5, 1), (3.5, 0.5, 0)),
    "tumbao": ((1.5, 1.5, 1), (3, 1, 2)),
}
_VELOCITY_ACCENTS = {"X": 1.0, "x": 0.3, "o": -1.2}


def bass(voice: Voice) -> list[BeatNote]:
    """A bass line in one of the styles of the genre."""
    sheet, style = voice.sheet, seeding.choice(voice.pattern, GENRES[voice.sheet.genre].bass)
    if style == "walking":
        return _walking(voice)
    cell = _STYLES[style]
    if sheet.metre.beats != 4:
        cell = ((0, sheet.metre.beats * 0.6, 0), (sheet.metre.beats - 1, 0.9, 1))
    notes = []
    for bar in range(len(sheet.bars)):
        for onset, length, tone in cell:
            beat = bar * sheet.metre.beats + onset
            root = voice.low + (sheet.chord_at(beat).root - voice.low) % 12
            pitch = root + (0, 7, 12)[tone]
            notes.append(BeatNote(beat, length, pitch if pitch <= voice.high else pitch - 12, 0.3))
    return notes


def _walking(voice: Voice) -> list[BeatNote]:
    """Quarter notes: the root where a chord begins, then chord tones and steps towards the next."""
    sheet, notes, pitch = voice.sheet, [], voice.low + 10
    for beat in range(sheet.num_beats):
        harmony = sheet.chord_at(beat)
        starts = beat == 0 or sheet.chord_end(beat - 1) <= beat
        tones = theory.chord_pitches(harmony, voice.low, voice.high)
        roots = [tone for tone in tones if tone % 12 == harmony.root]
        choices = roots if starts else [tone for tone in tones if tone != pitch]
        near = sorted(choices, key=lambda tone: (abs(tone - pitch), tone))
        pitch = near[0] if starts else seeding.choice(voice.rng, near[:3])
        notes.append(BeatNote(float(beat), 0.95, pitch, 0.2 * (beat % 2)))
    return notes


def drums(voice: Voice) -> list[BeatNote]:
    """A groove of the genre, with ghost notes that come and go and a fill at times."""
    sheet = voice.sheet
    grooves = GENRES[sheet.genre].grooves[sheet.metre]
    groove = seeding.choice(voice.pattern, grooves)
    step_beats = 1 / sheet.metre.steps
    notes = []
    for bar in range(len(sheet.bars)):
        start = bar * sheet.metre.beats
        for key, strokes in groove.items():
            for step, stroke in enumerate(strokes):
                absent = stroke == "." or (stroke == "o" and voice.rng.random() < 0.35)
                if not absent:
                    beat = start + step * step_beats
                    notes.append(BeatNote(beat, 0.2, key, _VELOCITY_ACCENTS[stroke]))
        if bar % 4 == 3 and voice.rng.random() < 0.6:
            notes += _fill(voice, start + sheet.metre.beats - 1)
    return sorted(notes)


def _fill(voice: Voice, beat: float) -> list[BeatNote]:
    steps = voice.sheet.metre.steps
    keys = (SNARE, SNARE, LOW_TOM + 3, LOW_TOM)
    fill = [
        BeatNote(beat + step / steps, 0.2, keys[step], 0.3 + 0.1 * step) for step in range(steps)
    ]
    if voice.sheet.genre in ("pop_roc", "jaz_blu"):
        fill.append(BeatNote(beat + 1, 0.5, CRASH, 0.6))
    return fill
