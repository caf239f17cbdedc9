"""Signal processing as pure functions of arrays: STFT, mel bands, decibels, images of waveforms.

Every function works on the last axes of arrays with any leading axes, under `jit`, `vmap` and
`grad`. Options (lengths, names, paddings) are static Python values and keyword-only.

Functions raise ValueError for an option out of range, and AssertionError for an array without a
floating-point dtype or a signal without samples; their docstrings list further errors only.
"""
