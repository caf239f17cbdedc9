"""What Vazonis et al. (2022) report on IRMAS's test clips, 11 classes, threshold 0.5."""

SOURCE = "Vazonis et al. 2022, on IRMAS's test clips"

#: Micro precision, recall, F1 (None: not stated).
MICRO = {
    "LSTM": (0.25, 0.75, 0.38),
    "FFT and dense layers": (0.18, 0.68, 0.29),
    "FFT and dense layers, 75 epochs": (None, None, 0.16),
}
#: Bosch et al. (2012) as cited there: micro F1 of their five systems.
BOSCH = {
    "one model on the mean of the channels": 0.378,
    "on four streams by panning": 0.451,
    "on four streams of FASST": 0.355,
    "a model for each stream of FASST": 0.446,
    "the same with combined streams": 0.503,
}
#: Class -> precision, recall, F1.
FFT_PER_CLASS = {"voi": (0.48, 0.80, 0.60), "cla": (0.02, 0.74, 0.05)}
LSTM_PER_CLASS = {"gac": (0.25, 0.04, None)}
#: Said of nearly every clip by the LSTM.
LSTM_ALWAYS = ("gel", "org", "pia", "sax", "voi")
