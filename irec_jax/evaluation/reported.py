"""Published figures, shown beside ours where the data are the same."""

from typing import Any

_NAMES = ("setting", "micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")


def _rows(*rows: tuple) -> list[dict[str, Any]]:
    """Rows of a setting and its figures, the last of which may be missing."""
    return [dict(zip(_NAMES, row, strict=False)) for row in rows]


#: Config name -> what was published about the system.
REPORTED: dict[str, dict[str, Any]] = {
    "han": {
        "dataset": "irmas",
        "source": "Han, Kim and Lee 2017, tables IV and V, mean of three runs",
        "rows": _rows(
            ("tanh, S2 0.50", 0.416, 0.625, 0.499, 0.348, 0.537, 0.399),
            ("ReLU, S2 0.50", 0.640, 0.550, 0.591, 0.521, 0.508, 0.486),
            ("PReLU, S2 0.50", 0.612, 0.565, 0.588, 0.502, 0.516, 0.490),
            ("LReLU 0.01, S2 0.50", 0.640, 0.552, 0.593, 0.530, 0.507, 0.492),
            ("LReLU 0.33, S2 0.50", 0.655, 0.557, 0.602, 0.541, 0.508, 0.503),
            ("LReLU 0.33, S1 0.16", 0.627, 0.572, 0.595, 0.525, 0.502, 0.486),
        ),
    },
    "vazonis_lstm": {
        "dataset": "irmas",
        "source": "Vazonis et al. 2022",
        "rows": _rows(("LSTM, threshold 0.5", 0.25, 0.75, 0.38)),
    },
    "vazonis_fft": {
        "dataset": "irmas",
        "source": "Vazonis et al. 2022",
        "rows": _rows(("FFT-dense network, threshold 0.5", 0.18, 0.68, 0.29)),
    },
}
