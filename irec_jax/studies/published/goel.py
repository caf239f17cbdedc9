"""Accuracies reported by Goel for five instruments in the IRMAS training clips: tables II to IX.

Goel's code splits the windows of both channels at random, so that windows from the same clip
are used for both training and testing.
"""

CITATION = "Goel, tables II to IX: windows of the IRMAS training clips, split at random"

#: Tables II to V: cell and chunk length in samples -> training, validation and test accuracy with
#: 50, 100 and 150 hidden units.
_RECURRENT = {
    ("rnn", 300): ((0.512, 0.481, 0.3713), (0.563, 0.504, 0.4952), (0.587, 0.522, 0.489)),
    ("rnn", 100): ((0.307, 0.271, 0.157), (0.336, 0.295, 0.186), (0.319, 0.242, 0.164)),
    ("lstm", 300): ((0.64, 0.6714, 0.653), (0.673, 0.6509, 0.6817), (0.662, 0.6212, 0.6393)),
    ("lstm", 100): ((0.726, 0.6948, 0.7184), (0.783, 0.7614, 0.7538), (0.769, 0.752, 0.7441)),
    ("gru", 300): ((0.617, 0.6003, 0.6), (0.668, 0.6525, 0.632), (0.694, 0.6427, 0.633)),
    ("gru", 100): ((0.7012, 0.675, 0.638), (0.747, 0.7683, 0.712), (0.7484, 0.741, 0.725)),
    ("blstm", 300): ((0.583, 0.549, 0.5218), (0.5914, 0.571, 0.5336), (0.589, 0.585, 0.5461)),
    ("blstm", 100): ((0.642, 0.5978, 0.55), (0.657, 0.6614, 0.5809), (0.655, 0.6329, 0.6216)),
}
#: Tables II to V: cell -> (chunk length, hidden units) -> training, validation and test accuracy.
RECURRENT = {
    cell: {
        (x_len, hidden): accuracies
        for x_len in (300, 100)
        for hidden, accuracies in zip((50, 100, 150), _RECURRENT[cell, x_len], strict=True)
    }
    for cell in ("rnn", "lstm", "gru", "blstm")
}
#: Table VI: cell -> test accuracy with an additional 50-unit dense layer, 300-sample chunks and 50
#: hidden units.
DENSE = {"rnn": 0.4516, "lstm": 0.7063, "gru": 0.7134, "blstm": 0.5579}
#: Tables VII and VIII: image -> network -> training, validation and test accuracy.
IMAGES = {
    "stacked": {
        "b1": (0.5034, 0.4819, 0.4771),
        "b2": (0.5412, 0.5193, 0.5076),
        "b3": (0.5683, 0.5546, 0.5453),
        "b4": (0.5885, 0.502, 0.4683),
    },
    "recurrence": {
        "b1": (0.6532, 0.633, 0.6053),
        "b2": (0.6779, 0.6841, 0.6785),
        "b3": (0.7412, 0.7319, 0.7104),
        "b4": (0.7943, 0.6021, 0.5307),
    },
}
#: Table IX: network -> training, validation and test accuracy after 10 epochs on recurrence plots.
CRNN = {
    "b1": (0.5075, 0.4938, 0.4017),
    "b2": (0.5314, 0.4873, 0.4822),
    "b3": (0.5753, 0.5579, 0.5410),
    "b4": (0.5642, 0.5348, 0.4806),
}
