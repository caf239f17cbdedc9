"""Results of Han, Kim and Lee (2017) on the IRMAS test clips: tables IV and V.

Scores are means over three runs.
"""

CITATION = "Han, Kim and Lee 2017, tables IV and V, mean of three runs"
DATASET = "irmas"

#: Micro and macro F1 of Bosch et al. (2012), derived from the gains of 19.6 and 16.4 % in figure 3.
BOSCH = (0.503, 0.432)
#: Approximate micro and macro recall of Fuhrmann and Herrera (2010), from section V-A. The paper
#: states no other numbers for this system, which has the highest precision of the three systems in
#: figure 3.
FUHRMANN_RECALL = 0.25

#: Activation, aggregation and threshold -> micro precision, recall and F1, then macro precision,
#: recall and F1.
SCORES = {
    "tanh, S2 0.50": (0.416, 0.625, 0.499, 0.348, 0.537, 0.399),
    "ReLU, S2 0.50": (0.640, 0.550, 0.591, 0.521, 0.508, 0.486),
    "PReLU, S2 0.50": (0.612, 0.565, 0.588, 0.502, 0.516, 0.490),
    "LReLU 0.01, S2 0.50": (0.640, 0.552, 0.593, 0.530, 0.507, 0.492),
    "LReLU 0.33, S2 0.50": (0.655, 0.557, 0.602, 0.541, 0.508, 0.503),
    "LReLU 0.33, S1 0.16": (0.627, 0.572, 0.595, 0.525, 0.502, 0.486),
}
#: Micro F1 of LReLU 0.33, the best activation: with S2, and with S1.
S2_MICRO_F1, S1_MICRO_F1 = (
    SCORES[f"LReLU 0.33, {setting}"][2] for setting in ("S2 0.50", "S1 0.16")
)

#: Window lengths in figure 4, in seconds: all lengths, the best length, and the worst length.
WINDOWS_S, BEST_WINDOW_S, WORST_WINDOW_S = (0.5, 1.0, 1.5, 3.0), 1.0, 3.0
#: Lowest and highest S2 threshold in figure 4.
S2_THRESHOLDS = (0.2, 0.6)
#: Approximate F1 of some classes with the default settings, from figure 5.
CLASS_F1 = {"voi": 0.90, "cel": 0.20, "cla": 0.20}
#: Classes of the two deconvolved clips in figure 7.
DECONVOLVED = ("voi", "gac")
