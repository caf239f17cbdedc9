"""Results of Seipel (2018): crosstalk reduction (tables 3.3 to 3.6) and recognition (chapter 4).

Crosstalk reduction: four anechoic orchestral excerpts with 9 to 14 parts, mixed with crosstalk of
at most -6, -12 or -18 dB. Recognition: concert recordings from the Berlin University of the Arts.
The recognition scores are shown only as curves (figures 4.4 to 4.6); `FINDINGS` summarises what the
text says about them.
"""

from typing import NamedTuple

LEVELS_DB = (-6, -12, -18)
CITATION = "Seipel 2018, tables 3.3 to 3.6: anechoic recordings of four orchestral excerpts"

#: Table 3.3, by level: correlation of the inverse mixing matrix with I - L, where L contains the
#: estimated crosstalk weights.
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

RECOGNITION_CITATION = "Seipel 2018, chapter 4: concert recordings, 92 training and 23 test pieces"


class Instrument(NamedTuple):
    """A row in table 4.2: megabytes, hours, and number of tracks (number of pieces for `MIXES`)."""

    megabytes: float
    hours: float
    num_tracks: int


#: Table 4.2: instrument -> row.
INSTRUMENTS = {
    "bassoon": Instrument(2033.061, 6.40, 51),
    "clarinet": Instrument(1997.021, 6.28, 48),
    "double_bass": Instrument(2135.858, 6.73, 54),
    "flute": Instrument(1342.118, 4.23, 39),
    "french_horn": Instrument(2033.061, 6.40, 51),
    "oboe": Instrument(1523.016, 4.80, 39),
    "piano": Instrument(3851.172, 12.13, 72),
    "trombone": Instrument(834.472, 2.63, 28),
    "trumpet": Instrument(834.472, 2.63, 28),
    "tuba": Instrument(783.636, 2.47, 24),
    "viola": Instrument(3611.268, 11.37, 75),
    "violin": Instrument(4937.731, 15.55, 87),
    "violoncello": Instrument(5399.067, 17.00, 104),
}
MIXES = Instrument(6082.926, 19.16, 116)
#: Numbers of training and test pieces in section 4.4.1; table 4.2 lists one more piece.
NUM_PIECES = (92, 23)
#: Mean piece length, computed from table 4.2 because figure 4.3 shows the lengths without numbers.
MEAN_PIECE_S = 3600 * MIXES.hours / MIXES.num_tracks
#: Instance length with the best scores in figure 4.4, in frames and in seconds (as printed there).
BEST_FRAMES, BEST_S = 112, 2.60
#: Values evaluated in the thesis: frames per instance (section 4.5.1), contexts (figure 4.5), and
#: instances per bag (figure 4.6).
FRAMES, CONTEXTS, INSTANCES = tuple(range(16, 161, 16)), (1, 3, 5, 7), (1, 3, 5)
#: Figure -> finding stated in sections 4.5.1 to 4.5.3.
FINDINGS = {
    "4.4": "all scores rise up to 112 frames (2.60 s) and then fall slightly; the AUC stays at the "
    "same level",
    "4.5": "a context of 3 improves the scores, especially for short instances; with a context of "
    "5 or 7, the scores fall as instances become longer",
    "4.6": "multiple-instance learning does not improve any score, with either 3 or 5 instances",
}
