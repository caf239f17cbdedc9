"""Published figures, shown beside ours where the data are the same."""

from typing import Any

_NAMES = ("setting", "micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")


def _rows(*rows: tuple) -> list[dict[str, Any]]:
    """Rows of a setting and its figures, the last of which may be missing."""
    return [dict(zip(_NAMES, row, strict=False)) for row in rows]


#: Config name -> what was published about the system: of a recogniser scores at thresholds, of a
#: separator means and standard deviations over tracks.
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
    "ligtenberg_unet": {
        "dataset": "MUSDB18 test, 50 tracks",
        "source": "Ligtenberg 2022, table 4.1",
        "amplitude_sdr_db": {
            "raw": {"mean": 9.33, "sd": 4.29},
            "post": {"mean": 7.29, "sd": 3.25},
        },
        "independent": {"t": 2.69, "df": 98, "p_value": 0.008},
    },
}


def _auc(
    base: tuple[float, float],
    raw: tuple[float, float],
    post: tuple[float, float],
    d_raw: float,
    d_post: float,
) -> dict[str, Any]:
    """Areas with the half widths printed behind them, and D of two systems against the first."""
    return {"base": base, "raw": raw, "post": post, "d_raw": d_raw, "d_post": d_post}


#: Areas under ROC curves of classifiers of original, separated and postprocessed audio. What they
#: were chosen by was measured on test.
LIGTENBERG_AUC: dict[str, Any] = {
    "dataset": "IRMAS test part 3, 766 clips of 3 s",
    "source": "Ligtenberg 2022, table 4.2",
    "macro": _auc((0.786, 0.012), (0.806, 0.009), (0.82, 0.007), -0.001, 0.015),
    "per_class": {
        "cel": _auc((0.722, 0.052), (0.821, 0.046), (0.839, 0.044), 0.001, 0.021),
        "cla": _auc((0.784, 0.041), (0.79, 0.041), (0.904, 0.031), -0.077, 0.048),
        "flu": _auc((0.763, 0.032), (0.801, 0.031), (0.737, 0.033), -0.025, -0.092),
        "gac": _auc((0.724, 0.02), (0.757, 0.019), (0.758, 0.019), -0.006, -0.004),
        "gel": _auc((0.78, 0.015), (0.757, 0.015), (0.762, 0.015), -0.053, -0.047),
        "org": _auc((0.729, 0.023), (0.706, 0.024), (0.725, 0.024), -0.07, -0.051),
        "pia": _auc((0.694, 0.016), (0.726, 0.015), (0.739, 0.015), 0.001, 0.014),
        "sax": _auc((0.846, 0.024), (0.856, 0.024), (0.882, 0.022), -0.038, -0.001),
        "tru": _auc((0.888, 0.03), (0.879, 0.032), (0.92, 0.026), -0.071, -0.025),
        "vio": _auc((0.872, 0.02), (0.911, 0.017), (0.892, 0.019), 0.001, -0.018),
        "voi": _auc((0.842, 0.013), (0.861, 0.012), (0.865, 0.012), -0.005, -0.002),
    },
    "l2_study": {"base": 0.732, "raw": 0.807, "post": 0.82},
}
