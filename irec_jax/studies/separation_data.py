"""What a separator makes of the clips of a recognition dataset, stored once."""

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
from irec_jax.inference import separation as inference
from irec_jax.inference.prediction import create_predict, local_batch_size
from irec_jax.systems.separator import load_separation
from irec_jax.tasks import Separation

#: Clips at a time.
BATCH_SIZE = 16
#: What is heard after separation: as it came out, and postprocessed.
SEPARATED = ("raw", "post")


@dataclasses.dataclass(frozen=True)
class Separator:
    """A trained separator.

    Attributes:
        task: its task.
        variables: parameters and model state.
        system: of its `system.json`.
        made_by: name and fingerprint of its parameters.
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
        """Frames of a window that are not added."""
        return self.frontend.num_real_frames(self.task.window_samples)


def load_separator(workdir: Path) -> Separator:
    """The separator that was trained in a workdir.

    Raises:
        UserError: no such folder, a workdir of another kind of system, damage.
    """
    task, variables, system = load_separation(workdir)
    made_by = f"{system['name']} {_fingerprint(variables)}"
    return Separator(task=task, variables=variables, system=system, made_by=made_by)


def _fingerprint(variables: Any) -> str:
    """Twelve hexadecimal digits that tell parameters from others."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:12]


def store(
    separator: Separator, settings: Mapping[str, Any], folder: Path, *, listen: str = "features"
) -> dict[str, str]:
    """Stores what a separator makes of all clips of a config section `data` that is split in parts.

    Args:
        separator: of `load_separator`.
        settings: the section, without `stored`; its windows are those of the separator.
        folder: where the stores go; what is there already is not computed again.
        listen: 'features' stores the separator's output once, for raw and post alike; 'audio'
            stores beside it the sound of both, with the phase of the mixture.

    Returns:
        The folder to be set as `data.stored` of raw and of post.

    Raises:
        UserError: the folder holds what another separator made, or cannot be written.
    """
    dataset = data.load(settings)
    if dataset.sample_rate_hz != separator.system["sample_rate_hz"]:
        raise UserError(
            f"the separator hears {separator.system['sample_rate_hz']} Hz and {dataset.name} has "
            f"{dataset.sample_rate_hz} Hz; set another data.format"
        )
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
        _store_audio(separator, clips, contents, folder, name)
    return {name: str(folder / name) for name in SEPARATED}


def _store_features(
    separator: Separator, clips: data.Clips, contents: data.StoreContents, folder: Path
) -> None:
    size = local_batch_size(BATCH_SIZE)
    predict = create_predict(separator.task, *separator.variables)

    def compute(indices: Sequence[int]) -> np.ndarray:
        audio = _waveforms(clips, indices, size, separator.task.window_samples)
        found = np.asarray(predict({"audio": audio}))
        return found[: len(indices), :, : separator.num_frames]

    data.write_store(folder, contents, clips.ids, compute, batch_size=size, label="separation")


def _store_audio(
    separator: Separator, clips: data.Clips, contents: data.StoreContents, folder: Path, name: str
) -> None:
    front, num_samples = separator.frontend, separator.task.window_samples
    values = data.open_store(folder / "features").values
    post_db = separator.system["post_db"] if name == "post" else None

    @jax.jit
    def resynthesise(features: jax.Array, mixture: jax.Array) -> jax.Array:
        features = inference.gate(features, front, post_db)
        phase = jnp.angle(stft.stft(mixture, **front.framing))[..., : front.num_bins]
        widths = [(0, 0), (0, 0), (0, front.num_frames - separator.num_frames)]
        floor = front.floor_db / front.scale_db
        features = jnp.pad(features, widths, constant_values=floor)
        phase = jnp.pad(jnp.swapaxes(phase, -1, -2), widths)
        return front.inverse(features, num_samples=num_samples, phase=phase)

    def compute(indices: Sequence[int]) -> np.ndarray:
        features = np.zeros((BATCH_SIZE, *contents.shape), np.float32)
        features[: len(indices)] = to_float32(values[np.asarray(indices)])
        audio = to_float32(_waveforms(clips, indices, BATCH_SIZE, num_samples))
        return np.asarray(resynthesise(features, audio))[: len(indices)]

    held = dataclasses.replace(
        contents, kind="audio", shape=(num_samples,), made_by=f"{separator.made_by}, {name}"
    )
    options = dict(batch_size=BATCH_SIZE, label=f"resynthesis, {name}")
    data.write_store(folder / name, held, clips.ids, compute, **options)


def _waveforms(
    clips: data.Clips, indices: Sequence[int], size: int, num_samples: int
) -> np.ndarray:
    """int16 (size, num_samples), zeros where a clip or a row is missing."""
    found = np.zeros((size, num_samples), np.int16)
    for row, i in enumerate(indices):
        samples = clips.read(int(i))[0][:num_samples]
        found[row, : len(samples)] = samples
    return found
