"""Separated versions of a recognition dataset's clips, computed once and stored."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from irec_jax import data
from irec_jax.audio import to_float32
from irec_jax.dsp import stft
from irec_jax.errors import UserError
from irec_jax.frontends import SpectrogramDb
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.systems.separator import create_gate, load_separation
from irec_jax.tasks import Separation

#: Clips per batch.
BATCH_SIZE = 16
#: Separated versions of a clip: the separator's output before and after postprocessing.
SEPARATED = ("raw", "post")


@dataclasses.dataclass(frozen=True)
class TrainedSeparator:
    """A trained separator for windows of a fixed length, identified by its parameters.

    Attributes:
        task: the separation task.
        variables: parameters and model state.
        system: content of its `system.json`.
        made_by: name of the system and fingerprint of its parameters, stored with the
            separated clips.
    """

    task: Separation
    variables: tuple[Any, Any]
    system: Mapping[str, Any]
    made_by: str

    @property
    def frontend(self) -> SpectrogramDb:
        return self.task.frontend

    @property
    def num_frames(self) -> int:
        """Number of frames in a window, without padding frames."""
        return self.frontend.num_real_frames(self.task.window_samples)


def load_trained_separator(workdir: Path) -> TrainedSeparator:
    """Load the separator that was trained in a workdir.

    Raises:
        UserError: the folder does not exist, belongs to another kind of system, or is damaged.
    """
    task, variables, system = load_separation(workdir)
    return TrainedSeparator(task, variables, system, f"{system['name']} {_fingerprint(variables)}")


def _fingerprint(variables: Any) -> str:
    """Return twelve hexadecimal digits that identify parameters and model state."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:12]


def store(
    separator: TrainedSeparator, settings: Mapping[str, Any], folder: Path, *, listen="features"
) -> dict[str, str]:
    """Separate all clips of a dataset and store the results.

    Args:
        separator: the separator.
        settings: `data` section of the config, with split 'parts', the window length of the
            separator, and no `stored` entry.
        folder: folder for the stores; clips that are already stored are not separated again.
        listen: 'features' stores the separator's output once, for both raw and post; 'audio' also
            stores the resynthesised audio of both, with the phase of the mixture.

    Returns:
        The folders to set as `data.stored`, by system ('raw' and 'post').

    Raises:
        UserError: the folder contains results from another separator, or is not writable.
    """
    dataset = data.load(settings)
    if dataset.sample_rate_hz != separator.system["sample_rate_hz"]:
        raise UserError(
            f"data.format: {dataset.name} has a sample rate of {dataset.sample_rate_hz} Hz, but "
            f"the separator needs {separator.system['sample_rate_hz']} Hz; choose another format"
        )
    assert dataset.test is not None  # the settings have split=parts
    clips = dataset.train.concatenate(dataset.test)
    contents = data.StoreContents(
        kind="features",
        shape=(separator.frontend.num_bins, separator.num_frames),
        dataset=data.store_identity(settings, version=dataset.version, config=dataset.config),
        made_by=separator.made_by,
    )
    _store_features(separator, clips, contents, folder / "features")
    if listen == "features":
        return dict.fromkeys(SEPARATED, str(folder / "features"))
    for name in SEPARATED:
        _store_audio(separator, clips, contents, folder / name)
    return {name: str(folder / name) for name in SEPARATED}


def _store_features(
    separator: TrainedSeparator, clips: data.Clips, contents: data.StoreContents, folder: Path
) -> None:
    """Store the separator's output for all clips."""
    size = local_batch_size(BATCH_SIZE)
    predict = create_predict(separator.task, *separator.variables)

    def compute(indices: Sequence[int]) -> np.ndarray:
        audio = _read_batch(clips, indices, size, separator.task.window_samples)
        features = np.asarray(predict({"audio": audio}))
        return features[: len(indices), :, : separator.num_frames]

    data.write_store(folder, contents, clips.ids, compute, batch_size=size, label="separation")


def _store_audio(
    separator: TrainedSeparator, clips: data.Clips, contents: data.StoreContents, folder: Path
) -> None:
    """Store the resynthesised audio of all separated clips.

    The folder name, 'raw' or 'post', selects the system.
    """
    frontend, num_samples = separator.frontend, separator.task.window_samples
    values = data.open_store(folder.with_name("features")).values
    post = create_gate(separator.system) if folder.name == "post" else None

    @jax.jit
    def resynthesise(features: jax.Array, mixture: jax.Array) -> jax.Array:
        gated = jnp.asarray(post(features, frontend) if post else features)
        phase = jnp.angle(stft.stft(mixture, **frontend.framing))[..., : frontend.num_bins]
        widths = [(0, 0), (0, 0), (0, frontend.num_frames - separator.num_frames)]
        floor = frontend.floor_db / frontend.scale_db
        padded = jnp.pad(gated, widths, constant_values=floor)
        phase = jnp.pad(jnp.swapaxes(phase, -1, -2), widths)
        return frontend.inverse(padded, num_samples=num_samples, phase=phase)

    def compute(indices: Sequence[int]) -> np.ndarray:
        features = np.zeros((BATCH_SIZE, *values.shape[1:]), np.float32)
        features[: len(indices)] = to_float32(values[np.asarray(indices)])
        audio = to_float32(_read_batch(clips, indices, BATCH_SIZE, num_samples))
        return np.asarray(resynthesise(features, audio))[: len(indices)]

    made_by, shape = f"{separator.made_by}, {folder.name}", (num_samples,)
    contents = dataclasses.replace(contents, kind="audio", shape=shape, made_by=made_by)
    label = f"resynthesis, {folder.name}"
    data.write_store(folder, contents, clips.ids, compute, batch_size=BATCH_SIZE, label=label)


def _read_batch(
    clips: data.Clips, indices: Sequence[int], size: int, num_samples: int
) -> np.ndarray:
    """Return the start of each clip, zero-padded, as an int16 array (size, num_samples)."""
    batch = np.zeros((size, num_samples), np.int16)
    for row, i in enumerate(indices):
        samples = clips.read(int(i))[0][:num_samples]
        batch[row, : len(samples)] = samples
    return batch
