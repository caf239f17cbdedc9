"""Published results, one module per paper; `RESULTS` finds those of a config by its name."""

from typing import Any

from irec_jax.studies.published import han, ligtenberg, vazonis

_SCORE_NAMES = ("micro_p", "micro_r", "micro_f1", "macro_p", "macro_r", "macro_f1")


def _scores(setting: str, values: tuple[float, ...]) -> dict[str, Any]:
    """A row of the table of published scores; trailing scores may be missing."""
    return {"setting": setting, **dict(zip(_SCORE_NAMES, values, strict=False))}


#: Config name -> published results, which reports show beside the measured ones: for recognisers
#: scores at thresholds, for separators mean and standard deviation over tracks. The keys are those
#: of ``reported`` in report.json.
RESULTS: dict[str, dict[str, Any]] = {
    "han": {
        "dataset": han.DATASET,
        "source": han.CITATION,
        "rows": [_scores(setting, values) for setting, values in han.SCORES.items()],
    },
    "vazonis_lstm": {
        "dataset": vazonis.DATASET,
        "source": vazonis.CITATION,
        "rows": [_scores("LSTM, threshold 0.5", vazonis.MICRO["LSTM"])],
    },
    "vazonis_fft": {
        "dataset": vazonis.DATASET,
        "source": vazonis.CITATION,
        "rows": [
            _scores("FFT-dense network, threshold 0.5", vazonis.MICRO["FFT and dense layers"])
        ],
    },
    "ligtenberg_unet": {
        "dataset": ligtenberg.SDR_DATASET,
        "source": ligtenberg.SDR_CITATION,
        "amplitude_sdr_db": ligtenberg.AMPLITUDE_SDR_DB,
        "independent": ligtenberg.T_TEST,
    },
}
