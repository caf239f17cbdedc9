"""Results of Seipel (2018) on crosstalk reduction: tables 3.3 to 3.6.

Four anechoic orchestral excerpts of 9 to 14 parts, with crosstalk of at most -6, -12 and -18 dB.
"""

LEVELS_DB = (-6, -12, -18)
CITATION = "Seipel 2018, tables 3.3 to 3.6: anechoic recordings of four orchestral excerpts"

#: Table 3.3, by level: correlation of the inverse mixing matrix with I - L, L being the weights.
CORRELATION = {
    "Beethoven": (0.437, 0.964, 0.933),
    "Bruckner": (0.595, 0.961, 0.941),
    "Mahler": (0.752, 0.931, 0.900),
    "Mozart": (0.932, 0.973, 0.976),
    "average": (0.678, 0.957, 0.937),
}
#: Table 3.4, by level: BSS-Eval scores in dB, averaged over the pieces.
AVERAGES = {
    "mixture": dict(sdr=(0.04, 5.79, 11.83), sir=(0.04, 5.80, 11.93), sar=(48.05, 39.56, 31.53)),
    "reduced": dict(sdr=(7.88, 12.95, 15.15), sir=(13.30, 22.16, 27.75), sar=(10.48, 13.75, 15.49)),
}
#: Table 3.5, by level: gains in SDR and SIR, and SAR of the reduced tracks, in dB.
PIECES = {
    "Beethoven": dict(sdr=(7.53, 7.33, 3.50), sir=(11.21, 15.83, 15.52), sar=(10.78, 14.09, 15.54)),
    "Bruckner": dict(sdr=(6.67, 6.66, 2.41), sir=(10.12, 14.62, 14.29), sar=(8.99, 12.69, 14.12)),
    "Mahler": dict(sdr=(8.04, 7.33, 3.46), sir=(14.66, 15.39, 14.99), sar=(9.71, 12.24, 14.54)),
    "Mozart": dict(sdr=(9.14, 7.31, 3.92), sir=(17.03, 19.59, 18.46), sar=(12.43, 15.97, 17.74)),
}
#: Table 3.6, by level: SIR of the mixtures in dB.
MIXTURE_SIR = {
    "Beethoven": (0.03, 5.92, 11.73),
    "Bruckner": (-1.35, 5.10, 11.46),
    "Mahler": (-0.91, 3.81, 10.81),
    "Mozart": (2.39, 8.39, 13.73),
}
