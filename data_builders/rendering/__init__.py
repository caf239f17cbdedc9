"""Rule-based composition of short pieces, rendered with sampled instruments, one stem each.

A piece passes through these modules in order; each can be used without the next:

- `genres`, `theory`: a `LeadSheet` (tempo, metre, key, chords) drawn for a genre;
- `parts`, `rhythm_section`: notes of one instrument in beats, by role (melody, comping, bass ...);
- `band`: drums and bass that follow the sections of a song;
- `performance`: notes in beats to a `score.Part` in seconds: timing, articulation, vibrato, swells;
- `singer`: performance of a vocal part, and vowels and consonants for its audio;
- `synth`: a part to audio through a SoundFont;
- `mix`: stems to a stereo mixture: levels by RMS, equaliser, panning, reverberation, mastering.

`instruments` is the catalogue, `arrange` composes the parts of an ensemble, `seeding` makes
everything a function of a key, `pool` renders on all cores, and `demo` is an example.
"""
