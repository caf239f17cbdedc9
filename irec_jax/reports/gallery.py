"""Galleries: what the front ends that make pictures see of clips of every class.

Goel's figures 9 to 16 for any dataset of clips, a class per row.
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from irec_jax import data, frontends, registry
from irec_jax.audio import INT16_SCALE
from irec_jax.data import Clips
from irec_jax.dsp import mel
from irec_jax.dsp.stacked_image import smallest_side
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS_NAMES

#: So much of the beginning of every clip is drawn: a training clip of IRMAS.
EXCERPT_S = 3.0
#: Spans of the two recurrence plots: 2^16 and 2^17 samples at 44.1 kHz, as in the source.
_SPANS_S = (1.486, 2.972)
MAX_CLASSES = 40
MAX_PER_CLASS = 12
_CELL = 1.75  # inches
_MAX_ID = 32
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _View:
    """How an image is made and read.

    Attributes:
        frontend: makes it.
        extents: edges (left, right, bottom, top) of the R pictures of a clip, in units of the axes.
        headers: of the R columns of a clip; none for one picture.
        upright: whether the front end's first axis goes to the right and the second upwards.
        x_label, y_label, y_ticks: of the axes; without ticks of its own the y axis has numbers.
        how_to_read: one or two sentences.
        colours: name of a colour map.
        bar_ticks: marks of the colour bar, the first and the last of which are its ends.
        bar_label: of the colour bar.
    """

    frontend: frontends.FrontEnd
    extents: tuple[tuple[float, float, float, float], ...]
    headers: tuple[str, ...] = ()
    upright: bool = False
    x_label: str
    y_label: str
    y_ticks: Mapping[float, str] | None = None
    how_to_read: str
    colours: str
    bar_ticks: Mapping[float, str]
    bar_label: str


def draw(
    settings: Mapping[str, Any],
    *,
    image: str = "stacked",
    classes: Sequence[str] = (),
    num_per_class: int = 4,
    seed: int = 0,
) -> Figure:
    """Pictures of training clips, which show one class alone where there are such clips.

    Args:
        settings: a dataset by `name` with its options, as in the config section `data`; `dir` and
            `manual_dir` may be left out.
        image: 'stacked', 'recurrence' or 'log_mel'.
        classes: names or codes of the classes to draw, in this order; none: all that have clips.
        num_per_class: clips per class, of different songs as far as there are.
        seed: of the choice of clips.

    Raises:
        UserError: an unknown dataset, option, image or class; a class without clips; too many.
    """
    if image not in IMAGES:
        raise registry.unknown("image", image, IMAGES)
    if not 1 <= num_per_class <= MAX_PER_CLASS:
        raise UserError(f"num_per_class={num_per_class}: must be from 1 to {MAX_PER_CLASS}")
    if seed < 0:
        raise UserError(f"seed={seed}: must be 0 or more")
    data.options_of(settings["name"])  # reports a dataset that has no labelled clips
    own = dict(dir="", manual_dir="", cache_gb=0.0, classes=(), channels="mean", split="song")
    dataset = data.load(own | dict(format="mono22k") | dict(settings))
    chosen = {
        name: choose(dataset.train, dataset.classes.index(name), num_per_class, seed=seed)
        for name in _find(classes, dataset.classes)
    }
    for name in [name for name, clips in chosen.items() if not len(clips)]:
        if classes:
            raise UserError(f"class {name!r} has no training clips in {settings['name']}")
        del chosen[name]
    if not 1 <= len(chosen) <= MAX_CLASSES:
        raise UserError(
            f"{settings['name']} has {len(chosen)} classes, and a gallery shows up to "
            f"{MAX_CLASSES}: name some with --classes"
        )
    name, view = IMAGES[image]
    made = "rendered music" if dataset.rendered else "recordings"
    return _figure(
        view(dataset.sample_rate_hz),
        chosen,
        dataset.train,
        num_samples=round(EXCERPT_S * dataset.sample_rate_hz),
        title=f"{name} of {dataset.name}/{dataset.config} {dataset.version} ({made})",
    )


def choose(clips: Clips, column: int, num: int, *, seed: int) -> np.ndarray:
    """Indices of up to `num` clips of the class in a column of the labels, in random order.

    Clips of that class alone come before others, and new songs before further clips of a song.
    What is drawn does not depend on other classes.
    """
    order = np.random.default_rng([seed, column]).permutation(len(clips))
    shown = order[clips.labels[order, column] > 0]
    num_before: dict[str, int] = {}
    rank = []
    for i in shown:
        song = clips.songs[i]
        rank.append((clips.labels[i].sum() > 1, num_before.get(song, 0)))
        num_before[song] = num_before.get(song, 0) + 1
    return shown[sorted(range(len(shown)), key=rank.__getitem__)[:num]]


def _find(wanted: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Classes by code or by full name; all when none are wanted."""
    codes = {IRMAS_NAMES.get(name, name): name for name in known} | {name: name for name in known}
    for name in wanted:
        if name not in codes:
            raise registry.unknown("class", name, codes)
    return tuple(dict.fromkeys(codes[name] for name in wanted)) or known


def _stacked(rate_hz: int) -> _View:
    side = smallest_side(round(EXCERPT_S * rate_hz))
    line_ms = 1e3 * side / rate_hz
    return _View(
        frontend=frontends.create("stacked", side=side),
        extents=((0, line_ms, side * line_ms / 1e3, 0),),
        x_label="time within a line in ms",
        y_label="time at which a line begins in s",
        how_to_read=f"Every line is {line_ms:.1f} ms of sound from left to right, and the next "
        f"{line_ms:.1f} ms are the line below it. Tones make stripes, silence is grey.",
        colours="gray",
        bar_ticks={0.0: "−1", 0.5: "0", 1.0: "1"},
        bar_label="sample, of the clip's peak",
    )


def _recurrence(rate_hz: int) -> _View:
    exponents = tuple(round(math.log2(span_s * rate_hz)) for span_s in _SPANS_S)
    spans_s = [2**exponent / rate_hz for exponent in exponents]
    powers = [f"2{str(n).translate(_SUPERSCRIPT)} samples" for n in exponents]
    return _View(
        frontend=frontends.create("recurrence", exponents=exponents),
        extents=tuple((0, span, span, 0) for span in spans_s),
        headers=tuple(f"{s:.2f} s, {power}" for s, power in zip(spans_s, powers, strict=True)),
        x_label="time i in s",
        y_label="time j in s",
        how_to_read="Every point compares the level at two times: dark where it is alike, bright "
        "where one is loud and the other soft. Each clip is shown twice: its beginning, and "
        "twice as much of it.",
        colours="magma",
        bar_ticks={0.0: "0", 0.25: "0.25", 0.5: "0.5"},
        bar_label="|x[i] − x[j]| / 2",
    )


def _log_mel(rate_hz: int) -> _View:
    frontend = frontends.create("log_mel", sample_rate_hz=rate_hz)
    centres_hz = mel.mel_frequencies(
        num_mels=frontend.num_mels, min_hz=0.0, max_hz=rate_hz / 2, mel_scale="slaney"
    )
    marks_hz = [hz for hz in (500, 1000, 2000, 4000, 8000, 16000) if hz < 0.9 * rate_hz / 2]
    silence = math.log(frontend.offset)
    return _View(
        frontend=frontend,
        extents=((0, EXCERPT_S, 0, frontend.num_mels),),
        upright=True,
        x_label="time in s",
        y_label="frequency in kHz",
        y_ticks={
            float(np.interp(hz, centres_hz, 0.5 + np.arange(frontend.num_mels))): f"{hz / 1e3:g}"
            for hz in marks_hz
        },
        how_to_read="Loudness of mel bands over time: a tone is a ladder of lines, its overtones.",
        colours="magma",
        bar_ticks={silence: "silence", 0.0: "0", 2.0: "2"},
        bar_label="natural logarithm of the band",
    )


#: Name of a front end -> what the gallery is called, and how it is made.
IMAGES = {
    "stacked": ("Stacked images", _stacked),
    "recurrence": ("Recurrence plots", _recurrence),
    "log_mel": ("Log-mel spectrograms", _log_mel),
}


def _pictures(view: _View, clips: Clips, i: int, num_samples: int) -> np.ndarray:
    """The R pictures of the beginning of a clip: (R, rows, columns), first row on top."""
    audio, gain = clips.read(int(i))
    waveform = np.zeros(num_samples, np.float32)
    audio = audio[:num_samples]
    waveform[: len(audio)] = audio / (gain * np.float32(INT16_SCALE))
    pictures = np.asarray(view.frontend(waveform))
    pictures = pictures.reshape(-1, *pictures.shape[-2:])
    return pictures.swapaxes(1, 2)[:, ::-1] if view.upright else pictures


def _figure(
    view: _View, chosen: Mapping[str, np.ndarray], clips: Clips, *, num_samples: int, title: str
) -> Figure:
    """A row per class, a clip after the other, each with its R pictures side by side."""
    per_clip = len(view.extents)
    num_columns = per_clip * max(map(len, chosen.values()))
    size = (2.8 + num_columns * _CELL, 1.9 + len(chosen) * (_CELL + 0.2))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        textwrap.fill(title, int(8.5 * size[0]), break_on_hyphens=False),
        fontsize=13,
        parse_math=False,
    )
    axes = figure.subplots(len(chosen), num_columns, squeeze=False)
    for row, (name, indices) in zip(axes, chosen.items(), strict=True):
        for number, i in enumerate(indices):
            cells = row[per_clip * number :][:per_clip]
            pictures = _pictures(view, clips, i, num_samples)
            for cell, picture, extent in zip(cells, pictures, view.extents, strict=True):
                image = _draw_picture(cell, picture, extent, view)
            caption = _shorten(str(clips.ids[i]))
            cells[0].set_title(caption, fontsize=6.5, loc="left", pad=3, parse_math=False)
        for unused in row[per_clip * len(indices) :]:
            unused.set_axis_off()
        row[0].set_ylabel(
            textwrap.fill(IRMAS_NAMES.get(name, name), 14, max_lines=5, placeholder=" …"),
            rotation=0, ha="right", va="center", fontsize=11, parse_math=False,
        )  # fmt: skip
    for row in axes:
        for cell in row[1:]:
            cell.set_yticks([])
    for number, column in enumerate(axes.T):
        drawn = [cell for cell in column if cell.axison]
        for cell in drawn[:-1]:
            cell.set_xticklabels([])
        if view.headers:
            drawn[0].annotate(
                view.headers[number % per_clip], (0.5, 1), (0, 15), "axes fraction",
                "offset points", ha="center", fontsize=9,
            )  # fmt: skip
    how_to_read = textwrap.fill(view.how_to_read, int(11 * size[0]))
    figure.supxlabel(f"{view.x_label}\n\n{how_to_read}", fontsize=10)
    figure.supylabel(view.y_label, fontsize=10)
    ticks = list(view.bar_ticks)
    bar = figure.colorbar(
        image, ax=axes, label=view.bar_label, aspect=30, shrink=min(1.0, 3 / len(chosen)), pad=0.01
    )
    bar.set_ticks(ticks, labels=list(view.bar_ticks.values()))
    return figure


def _shorten(name: str) -> str:
    half = _MAX_ID // 2
    return name if len(name) <= _MAX_ID else f"{name[:half]}…{name[1 - half :]}"


def _draw_picture(
    cell: Axes, picture: np.ndarray, extent: tuple[float, float, float, float], view: _View
) -> AxesImage:
    lowest, *_, highest = view.bar_ticks
    image = cell.imshow(
        picture, extent=extent, vmin=lowest, vmax=highest, cmap=view.colours, aspect="auto"
    )
    cell.set_box_aspect(1)
    cell.tick_params(labelsize=7, length=2)
    cell.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    if view.y_ticks is None:
        cell.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    else:
        cell.set_yticks(list(view.y_ticks), list(view.y_ticks.values()))
    return image
