"""Rule-based composition and rendering of short pieces, with one stem per instrument.

A piece passes through these modules in order; each can be used without the ones after it:

- `genres`, `theory`: a `LeadSheet` (tempo, metre, key, chords) drawn for a genre;
- `parts`, `rhythm_section`: notes of one instrument in beats, by role (melody, comping, bass ...);
- `band`: drums and bass that follow the sections of a song;
- `performance`: conversion of notes in beats to a `score.Part` in seconds, with timing,
  articulation, vibrato and swells;
- `singer`: performance of a vocal part, and vowels and consonants for its audio;
- `synth`, `sampler`, `voices`, `plucked`: synthesis of a part with a SoundFont, from recordings of
  single notes or syllables, or by a model of a guitar;
- `mix`: mixdown of stems to stereo, with RMS-based levels, equalisation, panning, reverberation and
  mastering.

`instruments` is the instrument catalogue, `libraries` finds sound libraries, `arrange` composes the
parts of an ensemble, `seeding` creates reproducible random generators, `pool` renders on all cores,
and `demo` is an example.
"""
