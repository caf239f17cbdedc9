"""Published results, one module per paper; `RESULTS` maps config names to published results."""

from typing import Any

from irec_jax.studies.published import han, ligtenberg, vazonis

_SCORE_NAMES = ("micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")


def _recogniser(paper: Any, scores: dict[str, tuple[float, ...]]) -> dict[str, Any]:
    """Return published scores with one table row per setting; trailing scores may be missing."""
    rows = [
        {"setting": setting, **dict(zip(_SCORE_NAMES, values, strict=False))}
        for setting, values in scores.items()
    ]
    return {"dataset": paper.DATASET, "source": paper.CITATION, "rows": rows}


_LSTM, _FFT = vazonis.MICRO["LSTM"], vazonis.MICRO["FFT and dense layers"]
#: Config name -> published results, which reports show next to the measured results. These are
#: scores at fixed thresholds for recognisers, and the mean and standard deviation over tracks for
#: separators. Each entry has the same keys as ``reported`` in report.json.
RESULTS: dict[str, dict[str, Any]] = {
    "han": _recogniser(han, han.SCORES),
    "vazonis_lstm": _recogniser(vazonis, {"LSTM, threshold 0.5": _LSTM}),
    "vazonis_fft": _recogniser(vazonis, {"FFT-dense network, threshold 0.5": _FFT}),
    "ligtenberg_unet": {
        "dataset": ligtenberg.SDR_DATASET,
        "source": ligtenberg.SDR_CITATION,
        "amplitude_sdr_db": ligtenberg.AMPLITUDE_SDR_DB,
        "independent": ligtenberg.T_TEST,
    },
}
