"""Galleries of model inputs: images of clips from every class, one class per row.

The galleries correspond to Goel's figures 9 to 16, but can show any dataset of labelled clips.
"""

import collections
import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from irec_jax import data, frontends, registry
from irec_jax.audio import INT16_SCALE
from irec_jax.data import Clips
from irec_jax.data.options import check_kind
from irec_jax.dsp import mel
from irec_jax.dsp.stacked_image import smallest_side
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.figures import Extent, new_figure
from irec_jax.text import class_names, shorten

#: Only the first 3 s of each clip are drawn, which is the length of an IRMAS training clip.
EXCERPT_S = 3.0
#: Spans of the two recurrence plots in seconds: 2^16 and 2^17 samples at 44.1 kHz, as in Goel.
_SPANS_S = (1.486, 2.972)
MAX_CLASSES = 40
MAX_PER_CLASS = 12
_IMAGE_INCHES = 1.75  # width and height of an image
_MAX_ID = 32
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Kind:
    """Kind of image: its front end, axes and colours.

    Attributes:
        frontend: front end that computes the R images of a clip.
        extents: edges (left, right, bottom, top) of the R images, in the units of the axes.
        headers: column titles of the R images; empty for a single image.
        x_label, y_label: axis labels, with units.
        y_ticks: tick labels by position; None for automatic ticks.
        how_to_read: one or two sentences that explain the images.
        colours: name of a colour map.
        bar_ticks: tick labels of the colour bar by value; the first and last values limit the bar.
        bar_label: label of the colour bar.
    """

    frontend: frontends.FrontEnd
    extents: tuple[Extent, ...]
    headers: tuple[str, ...] = ()
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
    """Draw images of training clips, preferably clips with a single label.

    Args:
        settings: dataset `name` and options, as in the `data` section of the config; `dir` and
            `manual_dir` are optional.
        image: 'stacked', 'recurrence', 'log_mel' or 'spectrogram_db'.
        classes: names or codes of the classes to draw, in this order; empty for all classes that
            have clips.
        num_per_class: clips per class, from different songs if possible.
        seed: random seed for choosing the clips.

    Raises:
        UserError: the dataset, an option, the image or a class is unknown, `num_per_class` or
            `seed` is out of range, a requested class has no clips, or there are too many classes.
    """
    if image not in IMAGES:
        raise registry.unknown("image", image, IMAGES)
    if not 1 <= num_per_class <= MAX_PER_CLASS:
        raise UserError(f"num_per_class={num_per_class}: expected 1 to {MAX_PER_CLASS}")
    if seed < 0:
        raise UserError(f"seed={seed}: expected a non-negative integer")
    check_kind(settings["name"], "clips")
    defaults = dict(dir="", manual_dir="", cache_gb=0.0, classes=(), channels="mean", split="song")
    dataset = data.load(defaults | dict(format="mono22k") | dict(settings))
    chosen = {
        name: choose(dataset.train, dataset.classes.index(name), num_per_class, seed=seed)
        for name in _class_codes(classes, dataset.classes)
    }
    empty = [name for name, clips in chosen.items() if not len(clips)]
    if classes and empty:
        raise UserError(
            f"class {empty[0]!r}: no training clips in {settings['name']}; choose other classes"
        )
    chosen = {name: clips for name, clips in chosen.items() if len(clips)}
    if not 1 <= len(chosen) <= MAX_CLASSES:
        raise UserError(
            f"{settings['name']}: {len(chosen)} classes, but a gallery shows 1 to {MAX_CLASSES}; "
            "choose some with --classes"
        )
    name, create = IMAGES[image]
    origin = "rendered music" if dataset.rendered else "recordings"
    title = f"{name} of {dataset.name}/{dataset.config} {dataset.version} ({origin})"
    num_samples = round(EXCERPT_S * dataset.sample_rate_hz)
    kind = create(dataset.sample_rate_hz)
    return _figure(kind, chosen, dataset.train, num_samples=num_samples, title=title)


def choose(clips: Clips, column: int, num: int, *, seed: int) -> np.ndarray:
    """Return the indices of up to `num` random clips that have the label in the given column.

    Clips with no other label are preferred, then clips from songs that are not yet represented. The
    choice does not depend on the other classes.
    """
    order = np.random.default_rng([seed, column]).permutation(len(clips))
    candidates = order[clips.labels[order, column] > 0]
    num_before = collections.Counter[str]()
    rank = []
    for i in candidates:
        song = str(clips.songs[i])
        rank.append((clips.labels[i].sum() > 1, num_before[song]))
        num_before[song] += 1
    return candidates[sorted(range(len(candidates)), key=rank.__getitem__)[:num]]


def _class_codes(names: Sequence[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes with the given codes or full names; all classes if none are given."""
    codes = dict(zip(class_names(known), known, strict=True)) | {name: name for name in known}
    for name in names:
        if name not in codes:
            raise registry.unknown("class", name, codes)
    return tuple(dict.fromkeys(codes[name] for name in names)) or known


def _stacked(rate_hz: int) -> _Kind:
    side = smallest_side(round(EXCERPT_S * rate_hz))
    line_ms = 1e3 * side / rate_hz
    return _Kind(
        frontend=frontends.create("stacked", side=side),
        extents=((0, line_ms, side * line_ms / 1e3, 0),),
        x_label="time within a line (ms)",
        y_label="start time of the line (s)",
        how_to_read=f"Each line shows {line_ms:.1f} ms of sound from left to right, and the line "
        f"below it shows the next {line_ms:.1f} ms. Tones appear as stripes and silence as grey.",
        colours="gray",
        bar_ticks={0.0: "−1", 0.5: "0", 1.0: "1"},
        bar_label="sample value (relative to the peak)",
    )


def _recurrence(rate_hz: int) -> _Kind:
    exponents = tuple(round(math.log2(span_s * rate_hz)) for span_s in _SPANS_S)
    spans_s = [2**exponent / rate_hz for exponent in exponents]
    powers = [f"2{str(n).translate(_SUPERSCRIPT)} samples" for n in exponents]
    return _Kind(
        frontend=frontends.create("recurrence", exponents=exponents),
        extents=tuple((0, span, span, 0) for span in spans_s),
        headers=tuple(f"{s:.2f} s, {power}" for s, power in zip(spans_s, powers, strict=True)),
        x_label="time i (s)",
        y_label="time j (s)",
        how_to_read="Each point compares two samples: it is dark if their values are similar and "
        "bright if they differ. Each clip is shown twice: an excerpt from its start, and another "
        "excerpt that is twice as long.",
        colours="magma",
        bar_ticks={0.0: "0", 0.25: "0.25", 0.5: "0.5"},
        bar_label="|x[i] − x[j]| / 2",
    )


def _log_mel(rate_hz: int) -> _Kind:
    frontend = frontends.LogMel(sample_rate_hz=rate_hz)
    centres_hz = mel.mel_frequencies(
        num_mels=frontend.num_mels, min_hz=0.0, max_hz=rate_hz / 2, mel_scale="slaney"
    )
    marks_hz = [hz for hz in (500, 1000, 2000, 4000, 8000, 16000) if hz < 0.9 * rate_hz / 2]
    positions = np.interp(marks_hz, centres_hz, 0.5 + np.arange(frontend.num_mels))
    silence = math.log(frontend.offset)
    return _Kind(
        frontend=frontend,
        extents=((0, EXCERPT_S, 0, frontend.num_mels),),
        x_label="time (s)",
        y_label="frequency (kHz)",
        y_ticks={p: f"{hz / 1e3:g}" for p, hz in zip(positions, marks_hz, strict=True)},
        how_to_read="Energy in mel bands over time. A tone appears as a ladder of harmonics.",
        colours="magma",
        bar_ticks={silence: "silence", 0.0: "0", 2.0: "2"},
        bar_label="natural logarithm of the band energy",
    )


def _spectrogram_db(rate_hz: int) -> _Kind:
    # 4,096 and 1,050 at 44.1 kHz, as in the paper.
    frame_length, hop_length = 2 ** round(math.log2(rate_hz / 11)), round(rate_hz / 42)
    frontend = frontends.SpectrogramDb(
        frame_length=frame_length,
        hop_length=hop_length,
        num_bins=frame_length // 2,
        num_frames=math.ceil(round(EXCERPT_S * rate_hz) / hop_length),
    )
    nyquist_khz = rate_hz / 2e3
    marks_khz = [khz for khz in (2, 5, 10, 15, 20) if khz < 0.95 * nyquist_khz]
    silence = frontend.floor_db / frontend.scale_db
    return _Kind(
        frontend=frontend,
        extents=((0, EXCERPT_S, 0, nyquist_khz),),
        x_label="time (s)",
        y_label="frequency (kHz)",
        y_ticks={khz: f"{khz}" for khz in marks_khz},
        how_to_read="Power at each frequency over time. A tone appears as a ladder of harmonics.",
        colours="magma",
        bar_ticks={silence: "silence"} | {db / frontend.scale_db: f"{db}" for db in (-50, 0, 50)},
        bar_label="power (dB)",
    )


#: For each kind of image, the title of its gallery and the function that creates its `_Kind`.
IMAGES = {
    "stacked": ("Stacked images", _stacked),
    "recurrence": ("Recurrence plots", _recurrence),
    "log_mel": ("Log-mel spectrograms", _log_mel),
    "spectrogram_db": ("Spectrograms in dB", _spectrogram_db),
}


def _images(kind: _Kind, clips: Clips, i: int, num_samples: int) -> np.ndarray:
    """Return R images (R, rows, columns) of the first samples of a clip, with the top row first."""
    audio, gain = clips.read(int(i))
    audio = audio[:num_samples] / (gain * np.float32(INT16_SCALE))
    waveform = np.pad(audio.astype(np.float32), (0, num_samples - len(audio)))
    images = np.asarray(kind.frontend(waveform))
    return kind.frontend.as_image(images.reshape(-1, *images.shape[-2:]))


def _figure(
    kind: _Kind, chosen: Mapping[str, np.ndarray], clips: Clips, *, num_samples: int, title: str
) -> Figure:
    """Draw one row of clips per class, and each clip as R images side by side."""
    per_clip = len(kind.extents)
    num_columns = per_clip * max(map(len, chosen.values()))
    size = (2.8 + num_columns * _IMAGE_INCHES, 1.9 + len(chosen) * (_IMAGE_INCHES + 0.2))
    figure = new_figure(*size)
    title = textwrap.fill(title, int(8.5 * size[0]), break_on_hyphens=False)
    figure.suptitle(title, fontsize=13, parse_math=False)
    grid, drawn_images = figure.subplots(len(chosen), num_columns, squeeze=False), []
    for row, (name, indices) in zip(grid, chosen.items(), strict=True):
        for number, i in enumerate(indices):
            panels = row[per_clip * number :][:per_clip]
            images = _images(kind, clips, i, num_samples)
            for axes, pixels, extent in zip(panels, images, kind.extents, strict=True):
                drawn_images.append(_draw_image(axes, pixels, extent, kind))
            caption = shorten(str(clips.ids[i]), _MAX_ID, keep="both")
            panels[0].set_title(caption, fontsize=6.5, loc="left", pad=3, parse_math=False)
        for unused in row[per_clip * len(indices) :]:
            unused.set_axis_off()
        row[0].set_ylabel(
            textwrap.fill(IRMAS_NAMES.get(name, name), 14, max_lines=5, placeholder=" …"),
            rotation=0, ha="right", va="center", fontsize=11, parse_math=False,
        )  # fmt: skip
    for axes in grid[:, 1:].flat:
        axes.set_yticks([])
    for number, column in enumerate(grid.T):
        drawn = [axes for axes in column if axes.axison]
        for axes in drawn[:-1]:
            axes.set_xticklabels([])
        if kind.headers:
            drawn[0].annotate(
                kind.headers[number % per_clip], (0.5, 1), (0, 15), "axes fraction",
                "offset points", ha="center", fontsize=9,
            )  # fmt: skip
    how_to_read = textwrap.fill(kind.how_to_read, int(11 * size[0]))
    figure.supxlabel(f"{kind.x_label}\n\n{how_to_read}", fontsize=10)
    figure.supylabel(kind.y_label, fontsize=10)
    style: Any = dict(aspect=30, shrink=min(1.0, 3 / len(chosen)), pad=0.01)
    bar = figure.colorbar(drawn_images[-1], ax=grid, label=kind.bar_label, **style)
    bar.set_ticks(list(kind.bar_ticks), labels=list(kind.bar_ticks.values()))
    return figure


def _draw_image(axes: Axes, pixels: np.ndarray, extent: Extent, kind: _Kind) -> AxesImage:
    low, *_, high = kind.bar_ticks
    colours = kind.colours
    image = axes.imshow(pixels, extent=extent, vmin=low, vmax=high, cmap=colours, aspect="auto")
    axes.set_box_aspect(1)
    axes.tick_params(labelsize=7, length=2)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(matplotlib.ticker.MaxNLocator(3))
    if kind.y_ticks:
        axes.set_yticks(list(kind.y_ticks), list(kind.y_ticks.values()))
    return image
