"""Signal processing as pure functions of arrays: framing, STFT, mel bands, decibels.

Every function works on the last axes of arrays with any leading axes, under `jit`, `vmap` and
`grad`. Options (lengths, names, paddings) are static Python values and keyword-only.
"""
