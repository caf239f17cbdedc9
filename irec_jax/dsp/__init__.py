"""Pure signal processing functions for arrays: STFT, mel bands, decibels and waveform images.

Functions operate on the last axes of arrays with any number of leading axes, and support `jit`,
`vmap` and `grad`. Options (lengths, names, padding modes) are static Python values and
keyword-only.

Functions raise ValueError if an option is out of range, and AssertionError if an array does not
have a floating-point dtype or a signal has no samples. The individual docstrings list only
additional errors.
"""
