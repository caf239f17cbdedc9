"""Export of a trained recogniser as a packaged system."""

import copy
import dataclasses
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from irec_jax import registry
from irec_jax.checkpoints import packaged
from irec_jax.config.command import training_command
from irec_jax.errors import UserError
from irec_jax.files import expand_home, read_json, seekable
from irec_jax.inference import aggregation
from irec_jax.inference.calibration import fit
from irec_jax.metrics.calibration import expected_calibration_error, top_calibration_error
from irec_jax.reports.model_card import model_card
from irec_jax.systems.loading import load_variables
from irec_jax.systems.recogniser import open_recogniser

#: Keys in the `data` section that name local folders.
_LOCAL_KEYS = ("dir", "manual_dir")


@dataclasses.dataclass(frozen=True)
class Exported:
    """The result of an export.

    Attributes:
        folder: folder of the packaged system.
        num_parameters: number of parameters.
        num_bytes: total size of the files in bytes.
    """

    folder: Path
    num_parameters: int
    num_bytes: int


def export(
    workdir: str | os.PathLike,
    out: str | os.PathLike,
    *,
    card: str | os.PathLike | None = None,
    calibrate: bool = False,
    threshold: str = "fixed",
    overwrite: bool = False,
) -> Exported:
    """Export the recogniser that was trained in a workdir as a packaged system.

    Args:
        workdir: the workdir.
        out: a new or empty folder for the files described in `checkpoints.packaged`.
        card: a Markdown file to append to the model card, for example with the licence and remarks.
        calibrate: adjust the last layer so that clip scores agree with the observed class
            frequencies in the validation clips. The thresholds that were tuned on these clips are
            adjusted accordingly; the fixed threshold keeps its value.
        threshold: name of the threshold that the exported recogniser applies by default.
        overwrite: replace an earlier packaged system in `out`.

    Raises:
        UserError: if the workdir, folder or file is invalid (see `load_recogniser`); or, with
            `calibrate`, if the system was not evaluated, does not predict independent
            probabilities, has a clip score other than `aggregation.ABSOLUTE`, or is trained on
            bags of instances.
    """
    workdir, out = expand_home(workdir, urls=True), expand_home(out)
    packaged.check_folder(out, overwrite=overwrite)
    text = "" if card is None else _read_text(expand_home(card))
    if packaged.is_packaged(workdir):
        raise UserError(f"{workdir}: is already exported; copy the folder, or specify a workdir")
    system, task = open_recogniser(workdir)
    system = _without_local_paths(system)
    params, model_state = load_variables(workdir, task)
    if calibrate:
        params, system = _calibrate(workdir, params, system)
    if threshold not in system["thresholds"]:
        raise registry.unknown("threshold", threshold, system["thresholds"])
    system["thresholds"]["fixed"] = system["thresholds"][threshold]
    parameters = packaged.encode_parameters(params, model_state)
    num_parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    page = model_card(
        Path(os.path.abspath(out)).name,
        system,
        num_parameters=num_parameters,
        num_bytes=len(parameters),
        command=training_command(system["name"], system["config"]),
        report=_read_if_present(workdir / "report.json"),
        fingerprint=_read_if_present(workdir / "dataset.json"),
        text=text,
    )
    packaged.write(out, system, parameters, page, overwrite=overwrite)
    num_bytes = sum(path.stat().st_size for path in out.iterdir())
    return Exported(out, num_parameters, num_bytes)


def _calibrate(
    workdir: Path, params: Mapping[str, Any], system: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the parameters and `system.json` of a system with calibrated probabilities.

    The last layer computes the logits, so only its weights change. The calibration is fitted to
    clip scores, which is exact for the maximum of the windows and close for the mean of the largest
    ones.
    """
    loss, name = system["config"]["loss"]["name"], system["aggregation"]
    if loss != "binary_cross_entropy":
        raise UserError(
            f"{workdir}: trained with {loss}; calibration requires binary_cross_entropy"
        )
    if system["task"] != "recognition":
        raise UserError(f"{workdir}: multiple-instance systems cannot be calibrated")
    if name not in aggregation.ABSOLUTE:
        raise UserError(
            f"{workdir}: the clip score {name} is not a probability; run the training command "
            "again with --config.evaluation.aggregation=top (or max), which evaluates the system "
            "without training it again"
        )
    clips = {split: _read_windows(workdir, split) for split in ("validation", "test")}
    labels, windows = clips["validation"]
    score = aggregation.get(name)
    calibration = fit(labels, score(windows))
    labels, windows = clips["test"]
    calibrated = [calibration(probabilities) for probabilities in windows]
    errors = {
        when: {
            "all": expected_calibration_error(labels, values),
            "strongest": top_calibration_error(labels, values),
        }
        for when, values in (("before", score(windows)), ("after", score(calibrated)))
    }
    layer_name = max(
        (name for name in params if name.startswith("Dense_")),
        key=lambda name: int(name.removeprefix("Dense_")),
    )
    layer = params[layer_name]
    layer = {
        "kernel": layer["kernel"] * calibration.scale,
        "bias": layer["bias"] * calibration.scale + np.array(calibration.offsets, "float32"),
    }
    num_classes = len(system["classes"])
    thresholds = {
        key: calibration(np.broadcast_to(np.asarray(value, float), (num_classes,))).tolist()
        for key, value in system["thresholds"].items()
        if key != "fixed"
    }
    changed = {
        "thresholds": system["thresholds"] | thresholds,
        "calibration": calibration.to_dict() | {"error": errors},
    }
    return {**params, layer_name: layer}, system | changed


def _read_windows(workdir: Path, split: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the labels (N, K) of the clips of a split and their window probabilities (W_i, K)."""
    file = workdir / "predictions.npz"
    try:
        with np.load(seekable(file), allow_pickle=False) as arrays:
            ends = np.cumsum(arrays[f"{split}_num_windows"])[:-1]
            return arrays[f"{split}_labels"], np.split(arrays[f"{split}_windows"], ends)
    except FileNotFoundError:
        raise UserError(f"{file}: missing; evaluate first, with --mode=eval") from None
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{file}: cannot be read ({error}); evaluate again with --mode=eval"
        ) from error


def _without_local_paths(system: dict[str, Any]) -> dict[str, Any]:
    """Return `system.json` with local paths removed or shortened to their last component."""
    system = copy.deepcopy(system)
    data, training = system["config"]["data"], system["config"].get("training", {})
    data |= {key: None for key in _LOCAL_KEYS if key in data}
    for section, key in ((data, "path"), (training, "init_from")):
        if section.get(key):
            section[key] = Path(section[key]).name
    return system


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UserError(f"{path}: cannot be read ({reason}); specify a Markdown file") from error


def _read_if_present(path: Path) -> Any:
    return read_json(path) if path.exists() else None
