"""Results of Vazonis et al. (2022) on the IRMAS test clips, with 11 classes and threshold 0.5."""

CITATION = "Vazonis et al. 2022"
DATASET = "irmas"

#: Network -> micro precision, recall and F1; None if not stated.
MICRO = {
    "LSTM": (0.25, 0.75, 0.38),
    "FFT and dense layers": (0.18, 0.68, 0.29),
    "FFT and dense layers, 75 epochs": (None, None, 0.16),
}
#: Micro F1 of the five systems by Bosch et al. (2012), as cited by Vazonis et al.
BOSCH = {
    "one model, mono mix": 0.378,
    "one model, four streams by panning": 0.451,
    "one model, four FASST streams": 0.355,
    "a model per FASST stream": 0.446,
    "a model per FASST stream, combined": 0.503,
}
#: Class -> precision, recall, F1.
FFT_PER_CLASS = {"voi": (0.48, 0.80, 0.60), "cla": (0.02, 0.74, 0.05)}
LSTM_PER_CLASS = {"gac": (0.25, 0.04, None)}
#: Classes that the LSTM predicts for nearly every clip.
LSTM_ALWAYS = ("gel", "org", "pia", "sax", "voi")
