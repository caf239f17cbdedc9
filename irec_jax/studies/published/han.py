"""Results of Han, Kim and Lee (2017) on IRMAS's test clips: tables IV and V, mean of three runs."""

CITATION = "Han, Kim and Lee 2017, tables IV and V, mean of three runs"
DATASET = "irmas"

#: Activation, aggregation and threshold -> micro precision, recall and F1, then the macro ones.
SCORES = {
    "tanh, S2 0.50": (0.416, 0.625, 0.499, 0.348, 0.537, 0.399),
    "ReLU, S2 0.50": (0.640, 0.550, 0.591, 0.521, 0.508, 0.486),
    "PReLU, S2 0.50": (0.612, 0.565, 0.588, 0.502, 0.516, 0.490),
    "LReLU 0.01, S2 0.50": (0.640, 0.552, 0.593, 0.530, 0.507, 0.492),
    "LReLU 0.33, S2 0.50": (0.655, 0.557, 0.602, 0.541, 0.508, 0.503),
    "LReLU 0.33, S1 0.16": (0.627, 0.572, 0.595, 0.525, 0.502, 0.486),
}
