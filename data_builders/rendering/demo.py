"""A demonstration piece for three instruments with staggered entries, and its activity labels.

Usage: ``python -m data_builders.rendering.demo OUT.wav`` writes the piece to OUT.wav and its labels
to OUT.json, a list of ``{"instrument", "start_s", "end_s"}``.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np

from data_builders.rendering import arrange, genres, mix, seeding, synth
from irec_jax import audio, files
from irec_jax.audio.writing import check_output_files
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS_NAMES

DURATION_S = 20.0
#: (IRMAS class, role, pan, start_s, end_s) for each instrument.
_ENTRIES = (
    ("pia", "two_hands", -0.3, 0.0, 12.0),
    ("tru", "melody", 0.1, 5.0, 15.0),
    ("vio", "melody", 0.35, 10.0, 20.0),
)


def render(
    *, seed: int = 0, soundfont: str | None = None
) -> tuple[np.ndarray, dict[str, np.ndarray], list[dict]]:
    """Render the piece with a General MIDI SoundFont (None for the default one).

    Each seed gives different music, but the instruments enter and leave at the same times.

    Returns:
        The mixture, float32 (T, 2) at 44.1 kHz; class -> direct sound (T, 2); and the activity
        labels in order of entry: ``{"instrument", "start_s", "end_s"}``, where ``instrument`` is an
        IRMAS class.
    """
    key = ("demo", seed)
    frame = seeding.generator(*key, "frame")
    sheet = genres.draw_lead_sheet(frame, "jaz_blu", duration_s=DURATION_S)
    rng = seeding.generator(*key, "instruments")
    musicians = []
    for kind, role, *_ in _ENTRIES:
        instrument = arrange.choose_instrument(rng, kind, "jaz_blu")
        musicians.append(arrange.Musician(kind, instrument, role, 0.5, rests=0.3, max_gap_s=0.4))
    parts = arrange.compose(musicians, sheet, song_key=key, clip_key=(*key, "clip"))
    player, stems, strips = synth.load_player(soundfont), {}, {}
    for kind, _, pan, start_s, end_s in _ENTRIES:
        notes = tuple(
            note._replace(duration_s=min(note.duration_s, end_s - note.onset_s))
            for note in parts[kind].notes
            if start_s <= note.onset_s < end_s - 0.1
        )
        part = dataclasses.replace(parts[kind], notes=notes)
        stems[kind] = player.play(part, round(DURATION_S * synth.SAMPLE_RATE_HZ))
        strips[kind] = mix.ChannelStrip(level_db=0.0, pan=pan, send_db=-16.0)
    room = mix.Room(decay_s=0.5, predelay_s=0.01, damping_hz=7000.0, seed=seed)
    mixture, direct, _ = mix.mixdown(stems, strips, room, mix.Mastering(peak_db=-1.0))
    activity = [
        {"instrument": kind, "start_s": start_s, "end_s": end_s}
        for kind, stem in direct.items()
        for start_s, end_s in mix.activity(stem, min_pause_s=1.0)
    ]
    return mixture, direct, activity


def main(arguments: list[str] | None = None) -> int:
    """Write the piece and its activity labels; return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("out", type=Path, help="WAV file to write")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--seed", type=int, default=0, help="random seed for the music")
    parser.add_argument("--soundfont", help="General MIDI SoundFont (.sf2)")
    options = parser.parse_args(arguments)
    labels_path = options.out.with_suffix(".json")
    names = [options.out.name, labels_path.name]
    try:
        check_output_files(options.out.parent, names, [], overwrite=options.overwrite)
        mixture, _, activity = render(seed=options.seed, soundfont=options.soundfont)
        audio.write(options.out, mixture, synth.SAMPLE_RATE_HZ)
        files.write_json(labels_path, activity)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    for row in activity:
        name = IRMAS_NAMES[row["instrument"]]
        print(f"{row['start_s']:6.2f} to {row['end_s']:5.2f} s  {name}")
    print(f"{options.out} and {labels_path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
