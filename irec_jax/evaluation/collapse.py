"""The collapse check: does the recogniser say the same whatever it hears?

A network that fails to learn often answers every clip with the same few classes and still gets a
micro F1 that looks like a start (0.38 in Vazonis et al. 2022). Three signs are looked for, each
against what the labels themselves would give, so that a good model of a one-sided test set is left
in peace:

- one set of labels is predicted for most clips, and much more often than any set is true;
- hardly any different sets are predicted, where many are true;
- every class is on, or off, for nearly all clips, so that its recall is near 0 or 1, and on the
  whole no more often where the instrument plays than where it does not. (Recall alone would accuse
  a perfect model.)
"""

from collections.abc import Sequence

import numpy as np

#: Fewer clips than this are not judged.
MIN_CLIPS = 10
#: Share of clips with one and the same answer, and how much commoner it is than in the labels.
TOP_SHARE, TOP_EXCESS = 0.8, 0.2
#: How near to 0 or 1 the share of clips is in which a class that ignores its input is on, and how
#: much its recall may then exceed its false alarm rate, on average over the classes.
NEAR, SKILL = 0.05, 0.1


def _sets(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distinct rows (sets of classes) and how often each occurs, commonest first."""
    rows, counts = np.unique(matrix, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return rows[order], counts[order]


def _stuck(labels: np.ndarray, predictions: np.ndarray) -> tuple[int, int] | None:
    """How many classes are nearly always on and off, when all are, without skill; else None."""
    num_positive = labels.sum(0)
    judged = (num_positive > 0) & (num_positive < len(labels))
    labels, predictions = labels[:, judged], predictions[:, judged]
    share_on = predictions.mean(0)
    on, off = share_on >= 1 - NEAR, share_on <= NEAR
    recall = (labels & predictions).sum(0) / labels.sum(0)
    false_alarms = (~labels & predictions).sum(0) / (~labels).sum(0)
    if judged.sum() < 2 or not (on | off).all() or (recall - false_alarms).mean() > SKILL:
        return None
    return int(on.sum()), int(off.sum())


def check(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> dict:
    """Looks for a recogniser that ignores its input.

    Args:
        labels: (N, K), non-zero where the class is there.
        predictions: (N, K), non-zero where it was predicted.
        classes: K names.

    Returns:
        dict: ``judged`` (False with fewer than 10 clips, or labels that are all the same),
        ``collapsed``, ``warning`` (a sentence, or None), ``num_distinct_predicted`` and
        ``num_distinct_true`` label sets, ``share_distinct_predicted`` (of the clips), and
        ``most_frequent_predicted`` and ``most_frequent_true``: each ``labels`` and ``share``.
    """
    labels, predictions = np.asarray(labels) > 0, np.asarray(predictions) > 0
    true_sets, true_counts = _sets(labels)
    sets, counts = _sets(predictions)
    share, true_share = counts[0] / len(labels), true_counts[0] / len(labels)
    judged = len(labels) >= MIN_CLIPS and len(true_sets) > 1
    warnings = []
    if judged:
        warnings = _signs(labels, predictions, classes)
    return {
        "judged": judged,
        "collapsed": bool(warnings),
        "warning": f"The model says nearly the same for every clip: {'; '.join(warnings)}."
        if warnings
        else None,
        "num_distinct_predicted": len(sets),
        "num_distinct_true": len(true_sets),
        "share_distinct_predicted": len(sets) / len(labels),
        "most_frequent_predicted": {"labels": _names(sets[0], classes), "share": float(share)},
        "most_frequent_true": {
            "labels": _names(true_sets[0], classes),
            "share": float(true_share),
        },
    }


def _signs(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> list[str]:
    """A clause for each sign of collapse that is seen."""
    true_sets, true_counts = _sets(labels)
    sets, counts = _sets(predictions)
    share, true_share = counts[0] / len(labels), true_counts[0] / len(labels)
    signs = []
    if share >= TOP_SHARE and share - true_share >= TOP_EXCESS:
        answer = ", ".join(_names(sets[0], classes)) or "no label at all"
        signs.append(
            f"{share:.0%} of the clips get the answer '{answer}' "
            f"(the commonest true set holds for {true_share:.0%})"
        )
    if len(sets) < min(len(true_sets), len(classes)) / 3:
        signs.append(f"it knows {len(sets)} answer(s), where {len(true_sets)} sets are true")
    stuck = _stuck(labels, predictions)
    if stuck is not None:
        signs.append(
            f"every class ignores its input: {stuck[0]} nearly always on, "
            f"{stuck[1]} nearly always off, whether the instrument plays or not"
        )
    return signs


def _names(row: np.ndarray, classes: Sequence[str]) -> list[str]:
    return [name for name, on in zip(classes, row, strict=True) if on]
