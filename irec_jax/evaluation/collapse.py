"""Check for collapsed recognisers, whose predictions hardly depend on the input.

A network that fails to learn often predicts the same few classes for every clip and still reaches a
plausible micro F1 (0.38 in Vazonis et al. 2022). The check looks for three signs, each relative to
the labels, so that a good model is not flagged on an unbalanced test set:

- one label set is predicted for most clips, and much more often than any label set occurs;
- only a few different label sets are predicted, although many occur;
- every class is predicted for nearly all or nearly no clips, and on average hardly more often for
  clips with the instrument than for clips without it. (A check for recalls near 0 or 1 would also
  flag a perfect model.)
"""

from collections.abc import Sequence

import numpy as np

from irec_jax.text import plural

#: Splits with fewer clips are not checked.
MIN_CLIPS = 10
#: First sign: minimum share of clips with the most frequent prediction, and minimum difference
#: between this share and the share of clips with the most frequent true label set.
TOP_SHARE, TOP_EXCESS = 0.8, 0.2
#: Third sign: the share of clips for which a class is predicted is within `NEAR` of 0 or 1 for each
#: class, and recall exceeds the false positive rate by at most `SKILL`, averaged over the classes.
NEAR, SKILL = 0.05, 0.1


def _label_sets(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct label sets (rows) and their counts, most frequent first."""
    rows, counts = np.unique(matrix, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return rows[order], counts[order]


def _constant_classes(labels: np.ndarray, predictions: np.ndarray) -> tuple[int, int] | None:
    """Count the classes that are nearly always predicted and those that are nearly never predicted.

    Only classes that occur in some but not all clips are considered. The result is None if there
    are fewer than two such classes, if any of them is neither nearly always nor nearly never
    predicted, or if recall exceeds the false positive rate by more than `SKILL` on average.
    """
    num_positive = labels.sum(0)
    judged = (num_positive > 0) & (num_positive < len(labels))
    labels, predictions = labels[:, judged], predictions[:, judged]
    share = predictions.mean(0)
    always, never = share >= 1 - NEAR, share <= NEAR
    recall = (labels & predictions).sum(0) / labels.sum(0)
    false_positive_rate = (~labels & predictions).sum(0) / (~labels).sum(0)
    skill = recall - false_positive_rate
    if judged.sum() < 2 or not (always | never).all() or skill.mean() > SKILL:
        return None
    return int(always.sum()), int(never.sum())


def check(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> dict:
    """Check whether the predictions hardly depend on the input.

    Args:
        labels: (N, K), non-zero for the classes of a clip.
        predictions: (N, K), non-zero for the predicted classes.
        classes: K class names.

    Returns:
        dict:

        - ``judged``: False if there are fewer than 10 clips or all clips have the same labels.
        - ``collapsed``: whether any sign of collapse was found.
        - ``warning``: a sentence that describes the signs, or None.
        - ``num_distinct_predicted``, ``num_distinct_true``: numbers of distinct label sets.
        - ``share_distinct_predicted``: ``num_distinct_predicted`` divided by the number of clips.
        - ``most_frequent_predicted``, ``most_frequent_true``: dicts with the ``labels`` in the most
          frequent label set and its ``share`` of the clips.
    """
    labels, predictions = np.asarray(labels) > 0, np.asarray(predictions) > 0
    true_sets, true_counts = _label_sets(labels)
    sets, counts = _label_sets(predictions)
    judged = len(labels) >= MIN_CLIPS and len(true_sets) > 1
    signs = _signs(labels, predictions, classes) if judged else []
    warning = f"The predictions hardly depend on the clip: {'; '.join(signs)}."

    def most_frequent(sets: np.ndarray, counts: np.ndarray) -> dict:
        return {"labels": _names(sets[0], classes), "share": float(counts[0] / len(labels))}

    return {
        "judged": judged,
        "collapsed": bool(signs),
        "warning": warning if signs else None,
        "num_distinct_predicted": len(sets),
        "num_distinct_true": len(true_sets),
        "share_distinct_predicted": len(sets) / len(labels),
        "most_frequent_predicted": most_frequent(sets, counts),
        "most_frequent_true": most_frequent(true_sets, true_counts),
    }


def _signs(labels: np.ndarray, predictions: np.ndarray, classes: Sequence[str]) -> list[str]:
    """Return a list with one clause for each sign of collapse that is found."""
    true_sets, true_counts = _label_sets(labels)
    sets, counts = _label_sets(predictions)
    share, true_share = counts[0] / len(labels), true_counts[0] / len(labels)
    signs = []
    if share >= TOP_SHARE and share - true_share >= TOP_EXCESS:
        prediction = ", ".join(_names(sets[0], classes)) or "no label"
        signs.append(
            f"'{prediction}' is predicted for {share:.0%} of the clips "
            f"(the most frequent label set occurs in {true_share:.0%})"
        )
    if len(sets) < min(len(true_sets), len(classes)) / 3:
        signs.append(
            f"only {plural(len(sets), 'label set is', 'label sets are')} predicted, "
            f"although {len(true_sets)} occur"
        )
    constant = _constant_classes(labels, predictions)
    if constant is not None:
        signs.append(
            f"{plural(constant[0], 'class is', 'classes are')} predicted nearly always, and "
            f"{constant[1]} nearly never, whether or not the instrument plays"
        )
    return signs


def _names(row: np.ndarray, classes: Sequence[str]) -> list[str]:
    return [name for name, active in zip(classes, row, strict=True) if active]
