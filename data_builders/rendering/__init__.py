"""Composes short pieces by rule and plays them with sampled instruments, one stem each.

The way of a piece, one module a step, each usable without the next:

- `theory`: a `Frame` (tempo, metre, key, chords) drawn for a genre of `genres`;
- `parts`, `rhythm_section`: notes of one instrument in beats, by role (melody, comping, bass ...);
- `band`: drums and bass that follow the sections of a song;
- `performance`: notes in beats to a `score.Part` in seconds: timing, touch, vibrato, swells;
- `singer`: the same for a voice, and vowels and consonants for its sound;
- `synth`: a part to audio through a SoundFont;
- `mix`: stems to a stereo mixture: levels by RMS, equaliser, panning, reverberation.

`instruments` is the catalogue of who can play, `arrange` hands roles to an ensemble, `seeding`
makes all of it a function of a key, `pool` runs it on all cores; `demo` is an example.
"""
