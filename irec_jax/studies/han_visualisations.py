"""Data for figures 6 and 7 of Han et al. (2017): t-SNE and deconvolution."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import sklearn.manifold
from jaxtyping import Float, Int
from ml_collections import config_dict

from irec_jax import data
from irec_jax.files import atomic_write, seekable
from irec_jax.models.deconvolution import Unit
from irec_jax.progress import progress_bar
from irec_jax.reports.explanation_figures import SegmentPicture
from irec_jax.studies.published import han as published
from irec_jax.systems.explainer import Explainer, Segment, load_explainer
from irec_jax.systems.explainer_files import segment_picture
from irec_jax.text import class_names

#: Layers in figure 6, from left to right: name of the activations -> title.
LAYERS = {
    **{f"block_{i}": f"block {i}" for i in range(1, 5)},
    "dense": "dense layer",
    "output": "output",
}
SPLITS = ("training", "validation")
#: Maximum number of windows (one per clip) per class and split, without and with `--quick`.
_PER_CLASS, _QUICK_PER_CLASS = 60, 30
_NUM_NEIGHBOURS, _BATCH_SIZE = 5, 32


def load_or_compute(
    path: Path,
    config: config_dict.ConfigDict,
    folder: Path,
    *,
    classes: Sequence[str],
    quick: bool,
) -> dict[str, np.ndarray]:
    """Return the arrays for figures 6 and 7, read from a file or else computed and stored.

    Shows a progress bar. Unfinished results are stored next to the file after each split, so that
    an interrupted call loses at most one split.

    Args:
        path: `.npz` file for the arrays.
        config: the run's config.
        folder: folder of the run's first seed, with the trained network.
        classes: class names.
        quick: whether to use fewer windows.

    Returns:
        Arrays by name. For each split in `SPLITS`: ``SPLIT_labels`` (N,), the class indices, and,
        for each layer in `LAYERS`, ``SPLIT_LAYER`` (N, 2), the t-SNE positions, and
        ``SPLIT_LAYER_neighbours``, the result of `same_class`. For the deconvolution:
        ``frequencies_hz`` (bands,) and, for each segment i, ``segment_i_title``,
        ``segment_i_ends_s`` (2,) with its start and end, ``segment_i_spectrogram`` (bands, frames),
        ``segment_i_pictures`` (units, frames, bands), and ``segment_i_units`` (units, 3) with
        block, channel and activation.
    """
    if path.exists():
        return _read(path)
    unfinished = path.with_name(f"unfinished_{path.name}")
    explainer = load_explainer(folder)
    dataset = data.load(config.data)
    splits = data.split_clips(dataset, config.data, seed=config.seed)
    arrays = _read(unfinished) if unfinished.exists() else {}
    arrays["frequencies_hz"] = explainer.frequencies_hz
    per_class, seed = _QUICK_PER_CLASS if quick else _PER_CLASS, config.seed
    for split in SPLITS:
        if f"{split}_labels" in arrays:
            continue
        clips = getattr(splits, split)
        windows, _ = _sample(clips, explainer, per_class=per_class, seed=seed)
        labels = windows.labels.argmax(axis=1)
        layers = activations(explainer, windows).items()
        for layer, values in progress_bar(layers, desc=f"t-SNE, {split} clips", unit="layer"):
            arrays[f"{split}_{layer}"] = embed(values, seed=seed)
            arrays[f"{split}_{layer}_neighbours"] = np.array(same_class(values, labels))
        arrays[f"{split}_labels"] = labels
        _write(unfinished, arrays)
    windows, indices = _sample(splits.validation, explainer, per_class=per_class, seed=seed)
    outputs, labels = activations(explainer, windows)["output"], windows.labels.argmax(axis=1)
    names = progress_bar(published.DECONVOLVED, desc="deconvolution", unit="clip")
    for number, name in enumerate(names):
        of_class = np.flatnonzero(labels == classes.index(name)) if name in classes else []
        if not len(of_class):
            continue
        # Use the clip with the highest probability for its class.
        best = of_class[outputs[of_class, classes.index(name)].argmax()]
        index = int(indices[best])
        samples, _ = splits.validation.read(index)
        segment = explainer.explain(
            samples, sample_rate_hz=dataset.sample_rate_hz, classes=[name]
        ).segment
        assert segment is not None
        title = f"{class_names([name])[0]}: {splits.validation.ids[index]}"
        arrays |= _segment_arrays(f"segment_{number}", title, segment)
    _write(path, arrays)
    unfinished.unlink(missing_ok=True)
    return arrays


def _read(path: Path) -> dict[str, np.ndarray]:
    with np.load(seekable(path), allow_pickle=False) as stored:
        return dict(stored)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))


def _sample(
    clips: data.Clips, explainer: Explainer, *, per_class: int, seed: int
) -> tuple[data.Clips, np.ndarray]:
    """Return a random window for each of up to `per_class` clips per class, and clip indices."""
    rng, task = np.random.default_rng(seed), explainer.recogniser.task
    labels = clips.labels.argmax(axis=1)
    chosen = [
        rng.permutation(np.flatnonzero(labels == k))[:per_class] for k in range(len(task.classes))
    ]
    indices = np.concatenate(chosen)
    windows = clips.subset(indices).to_windows(
        window_samples=task.window_samples, hop_samples=task.window_samples
    )
    clip_of = np.array([str(name).rpartition("@")[0] for name in windows.ids])
    order = rng.permutation(len(windows))
    _, first = np.unique(clip_of[order], return_index=True)
    picked = np.sort(order[first])
    position = {str(name): i for i, name in enumerate(clips.ids)}
    return windows.subset(picked), np.array([position[name] for name in clip_of[picked]])


def activations(explainer: Explainer, windows: data.Clips) -> dict[str, np.ndarray]:
    """Return the activations (windows, units) by layer name, max-pooled over positions."""
    task, variables = explainer.recogniser.task, {"params": explainer.params}
    variables |= explainer.model_state

    @jax.jit
    def compute(batch):
        outputs: Any = task.model.apply(
            variables, task.features(batch), train=False, mutable=["intermediates"]
        )
        logits, state = outputs
        layers = {name: values[0] for name, values in state["intermediates"].items()}
        layers["output"] = task.to_probabilities(logits)
        return {
            name: layers[name].reshape(len(logits), -1, layers[name].shape[-1]).max(axis=1)
            for name in LAYERS
        }

    parts = [
        {name: np.asarray(values)[: len(rows)] for name, values in compute(batch).items()}
        for rows, batch in _batches(windows, task.window_samples)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _batches(
    windows: data.Clips, window_samples: int
) -> Iterator[tuple[range, dict[str, np.ndarray]]]:
    """Yield the window indices and the windows of each batch, padded to a fixed batch size."""
    for start in range(0, len(windows), _BATCH_SIZE):
        rows = range(start, min(start + _BATCH_SIZE, len(windows)))
        batch = {
            "audio": np.zeros((_BATCH_SIZE, window_samples), np.int16),
            "gain": np.ones(_BATCH_SIZE, np.float32),
            "num_samples": np.full(_BATCH_SIZE, window_samples, np.int32),
        }
        for row, index in enumerate(rows):
            samples, batch["gain"][row] = windows.read(index)
            batch["audio"][row, : len(samples)] = samples
            batch["num_samples"][row] = len(samples)
        yield rows, batch


def embed(x: Float[np.ndarray, "points units"], *, seed: int) -> Float[np.ndarray, "points 2"]:
    """Embed points in the plane by t-SNE, initialised with their principal components."""
    x = np.asarray(x, np.float64)
    if len(x) < 4 or not np.ptp(x, axis=0).any():
        return np.zeros((len(x), 2))
    tsne = sklearn.manifold.TSNE(
        init="pca" if x.shape[1] > 1 else "random",
        perplexity=min(30.0, (len(x) - 1) / 3),
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a barely trained network can give identical points
        return tsne.fit_transform(x)


def same_class(x: Float[np.ndarray, "points units"], labels: Int[np.ndarray, " points"]) -> float:
    """Return the share of nearest neighbours that have the same class, averaged over points."""
    x = np.asarray(x, np.float64)
    squares = np.square(x).sum(axis=1)
    distances = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    count = min(_NUM_NEIGHBOURS, len(x) - 1)
    nearest = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return float(np.mean(labels[nearest] == labels[:, None]))


def neighbours(arrays: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return the stored results of `same_class` by split and layer."""
    return {
        split: {layer: float(arrays[f"{split}_{layer}_neighbours"]) for layer in LAYERS}
        for split in SPLITS
    }


def _segment_arrays(name: str, title: str, segment: Segment) -> dict[str, np.ndarray]:
    units = segment.units
    return {
        f"{name}_title": np.array(title),
        f"{name}_ends_s": np.array([segment.start_s, segment.end_s]),
        f"{name}_spectrogram": segment.spectrogram,
        f"{name}_pictures": np.stack([unit.picture for unit in units]),
        f"{name}_units": np.array([unit[:3] for unit in units], np.float64),
    }


def segments(arrays: Mapping[str, np.ndarray]) -> list[SegmentPicture]:
    """Return the pictures of the stored segments."""
    pictures = []
    for number, _ in enumerate(published.DECONVOLVED):
        name = f"segment_{number}"
        if f"{name}_title" not in arrays:
            continue
        start_s, end_s = arrays[f"{name}_ends_s"]
        units = [
            Unit(int(block), int(channel), float(activation), picture)
            for (block, channel, activation), picture in zip(
                arrays[f"{name}_units"], arrays[f"{name}_pictures"], strict=True
            )
        ]
        segment = Segment(float(start_s), float(end_s), arrays[f"{name}_spectrogram"], units)
        pictures.append(segment_picture(segment, str(arrays[f"{name}_title"])))
    return pictures
