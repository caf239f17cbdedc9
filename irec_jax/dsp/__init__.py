"""Signal processing as pure functions of arrays: STFT, mel bands, decibels, images of waveforms.

Every function works on the last axes of arrays with any leading axes, under `jit`, `vmap` and
`grad`. Options (lengths, names, paddings) are static Python values and keyword-only.
"""
