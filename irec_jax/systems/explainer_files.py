"""Pictures that show what a trained recogniser responds to in audio files."""

import dataclasses
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from irec_jax.audio.writing import check_output_files
from irec_jax.models.deconvolution import Unit
from irec_jax.reports import explanation_figures, figures
from irec_jax.systems.explainer import Explainer, Explanation, Segment, load_explainer
from irec_jax.text import class_names, clock, number, printable

#: Kind of picture -> ending of the file name.
PICTURES = {"class activation": "-classes.png", "deconvolution": "-deconvolution.png"}


@dataclasses.dataclass(frozen=True)
class Explained:
    """The explanation of a file.

    Attributes:
        explanation: the explanation as arrays.
        pictures: paths to the written pictures.
    """

    explanation: Explanation
    pictures: list[Path]


def explain(
    path_or_array: Any,
    *,
    workdir: str | os.PathLike | Explainer | None = None,
    model: str | None = None,
    sample_rate: float | None = None,
    classes: Sequence[str] = (),
    at_s: float | None = None,
) -> Explanation:
    """Explain what a trained recogniser responds to in a file or an array.

    Args:
        path_or_array: see `irec_jax.recognize`.
        workdir, model: see `load_explainer`. To explain many files, pass a loaded explainer as
            `workdir`.
        sample_rate: sample rate of an array, in Hz.
        classes, at_s: see `Explainer.explain`.

    Raises:
        UserError: if a file, array, system or class is invalid, or there is nothing to explain.
    """
    if not isinstance(workdir, Explainer):
        workdir = load_explainer(workdir, model=model)
    return workdir.explain(path_or_array, sample_rate_hz=sample_rate, classes=classes, at_s=at_s)


def explain_file(
    path: Path,
    explainer: Explainer,
    out: Path,
    name: str,
    *,
    classes: Sequence[str] = (),
    at_s: float | None = None,
    overwrite: bool = False,
    inputs: Collection[str | os.PathLike] = (),
    progress: Callable[[float], None] | None = None,
) -> Explained:
    """Explain a file, and write the pictures `NAME-classes.png` and `NAME-deconvolution.png`.

    The second picture is written only for networks that can be deconvolved (`ConvNet`).

    Args:
        path: path to any audio file.
        explainer: a loaded system.
        out: folder for the pictures; created if missing.
        name: start of the picture file names.
        classes, at_s, progress: see `Explainer.explain`.
        overwrite: replace existing pictures.
        inputs: other files that must not be replaced.

    Raises:
        UserError: if the file is invalid, there is nothing to explain, or the folder is not
            writable or already contains pictures with these names.
    """
    names = [name + ending for ending in PICTURES.values()]
    check_output_files(out, names, [path, *inputs], overwrite=overwrite)
    explanation = explainer.explain(path, classes=classes, at_s=at_s, progress=progress)
    drawn = draw(explanation, printable(path.name))
    pictures = []
    for kind, figure in drawn.items():
        pictures.append(out / (name + PICTURES[kind]))
        figures.save(figure, pictures[-1])
    return Explained(explanation, pictures)


def draw(explanation: Explanation, title: str) -> dict[str, Any]:
    """Return the matplotlib figures for an explanation, keyed by the kinds in `PICTURES`."""
    result = explanation.recognized
    captions = {}
    for label, values in explanation.class_activation.items():
        note = "" if label in result.labels else ", not recognised"
        score = number(result.scores[label], 2)
        captions[f"{class_names([label])[0]}: score {score}{note}"] = values
    drawn = {
        "class activation": explanation_figures.draw_class_activation(
            explanation.spectrogram,
            captions,
            explanation.frequencies_hz,
            duration_s=explanation.duration_s,
            title=title,
        )
    }
    if segment := explanation.segment:
        ends = f"{clock(segment.start_s)} to {clock(segment.end_s)}"
        drawn["deconvolution"] = explanation_figures.draw_deconvolution(
            [segment_picture(segment, f"spectrogram, {ends}")],
            explanation.frequencies_hz,
            title=f"{title}: what the two most active units of each block respond to",
        )
    return drawn


def segment_picture(segment: Segment, title: str) -> explanation_figures.SegmentPicture:
    """Convert a segment to the input for a figure, with captions for its units."""
    return explanation_figures.SegmentPicture(
        title=title,
        start_s=segment.start_s,
        end_s=segment.end_s,
        spectrogram=segment.spectrogram,
        units=[
            [_unit_picture(unit) for unit in segment.units if unit.block == block]
            for block in dict.fromkeys(unit.block for unit in segment.units)
        ],
    )


def _unit_picture(unit: Unit) -> explanation_figures.UnitPicture:
    caption = f"block {unit.block}, unit {unit.channel}, activation {unit.activation:.2f}"
    return explanation_figures.UnitPicture(caption, unit.picture.T)
