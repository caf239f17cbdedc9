"""What all configs share: their arguments, the datasets they can be given, the debug overlay."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import config_dict

import data_builders
from irec_jax.errors import UserError


def has_classes(dataset: str, classes: Iterable[str]) -> bool:
    """Return whether the class list of a dataset contains these; False for a user's own clips."""
    description = data_builders.DATASETS.get(dataset)
    return description is not None and {*classes} <= {*(description.classes or ())}


def has_test_parts(dataset: str) -> bool:
    """Return whether the test split of a dataset is divided into parts."""
    description = data_builders.DATASETS.get(dataset)
    return description is not None and bool(description.test_parts)


def dataset_options(dataset: str, kind: str) -> dict[str, Any]:
    """Return the options of a dataset that a config sets, with their defaults.

    `format` and `classes` are left to the config. See `irec build --help`.

    Raises:
        UserError: unknown dataset, or one of another kind than "clips" or "stems".
    """
    known = {
        name: description
        for name, description in data_builders.DATASETS.items()
        if description.kind == kind
    }
    options = inspect.signature(choose("dataset", dataset, known).create_builder).parameters
    return {
        name: "" if option.default is None else option.default
        for name, option in options.items()
        if name not in ("format", "classes", "data_dir")
    }


def arguments(text: str | None, **defaults):
    """Reads the part of `--config=FILE:TEXT` behind the colon.

    Args:
        text: comma-separated flags and `key=value`, such as `debug,dataset=irmas`.
        **defaults: the arguments this config takes. `debug` and `dataset` are taken by all.

    Returns:
        ConfigDict of the arguments, with values of the types of their defaults.

    Raises:
        UserError: an argument that the config does not take, or a value of another type.
    """
    found = config_dict.ConfigDict(dict(debug=False, dataset="gm_irmas") | defaults)
    for item in filter(None, (text or "").split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in found:
            near = difflib.get_close_matches(key, found.keys(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(found.keys())}"
            raise UserError(f"unknown config argument {key!r}: {hint}")
        if isinstance(found[key], bool):
            known = {"": True, "true": True, "1": True, "false": False, "0": False}
            if value.lower() not in known:
                raise UserError(f"config argument {key}={value}: expected {key} or {key}=false")
            found[key] = known[value.lower()]
            continue
        if not equals:
            raise UserError(f"config argument {key!r} needs a value: {key}=...")
        try:
            found[key] = type(found[key])(value)
        except ValueError:
            expected = type(found[key]).__name__
            raise UserError(f"config argument {key}={value}: expected {expected}") from None
    return found


def choose(argument: str, value: str, table: Mapping[str, Any]) -> Any:
    """What the value of a config argument stands for.

    Raises:
        UserError: a value that is not in the table.
    """
    if value not in table:
        near = difflib.get_close_matches(value, table, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise UserError(f"config argument {argument}={value}: {hint}")
    return table[value]


def data(dataset: str, **settings) -> dict:
    """The data section: a dataset by name with its options, and how its clips are used.

    `dir` is where prepared data lies (empty: $TFDS_DATA_DIR or ~/tensorflow_datasets) and
    `manual_dir` where files that were downloaded by hand lie. `cache_gb`: a split whose audio
    fits in so much memory is read from disk once.

    `classes`: only these classes of the dataset, in this order (empty: all), and clips that show
    one of them; `channels`: the `mean` of a clip's channels, or each channel an example of its own
    (`separate`); `hop_s`: distance of training windows (0: `window_s`, no overlap); `normalize`:
    waveforms are divided by the `peak` of their clip, or left as recorded (`none`).

    `split`: who tests. `official`: the dataset's own test split, clips of any length; `parts`: of
    the same, part 2 trains too and part 3 tests, the first `window_s` of each clip. `song` and
    `window` make training, validation and test sets from windows of the training clips, with
    whole songs on one side, or at random (overlapping windows of a clip are then on both sides,
    which flatters). `validation_fraction` of what is split validates, `test_fraction` tests.

    `stored`, which no config mentions: a folder of what a separator made of these clips, written by
    `irec study separation`, to be heard in their place; needs `split=parts`, and of features the
    front end `stored`.
    """
    options = dataset_options(dataset, "clips")
    shared = dict(
        name=dataset,
        dir="",
        manual_dir="",
        cache_gb=1.0,
        classes=(),
        channels="mean",
        hop_s=0.0,
        normalize="peak",
        split="official",
        test_fraction=0.15,
    )
    return shared | settings | options


def stems(dataset: str, **settings) -> dict:
    """The data section of a separator: tracks with their stems, and how they are used.

    `dir`, `manual_dir`, `cache_gb` as in `data`. `target`: the stems that are to stay, a sum.
    `window_s`: length of segments.

    `split`: `official`, the dataset's own training, validation and test tracks; `validation`, for
    folders without test tracks: its validation tracks test, and `validation_fraction` of the
    training tracks validates.

    `remix`: share of the examples of which each stem comes from a track and a start of its own;
    `channels`: of a stem the `mean` of both, or left, right or mean at `random`.
    """
    options = dataset_options(dataset, "stems")
    shared = dict(
        name=dataset,
        dir="",
        manual_dir="",
        cache_gb=2.0,
        target="vocals+other",
        window_s=3.0,
        split="official",
        validation_fraction=0.2,
        remix=0.5,
        channels="mean",
    )
    return shared | settings | options


def stem_augment(**settings) -> dict:
    """The augment section of a separator, off unless set; see `irec_jax/augment/stems.py`."""
    defaults = dict(
        gain_db=0.0, polarity=False, reversal=False, stretch=(1.0, 1.0), pitch_semitones=0.0
    )
    return defaults | settings


def augment(**settings) -> dict:
    """The augment section, off unless set; see `irec_jax/augment/features.py`."""
    defaults = dict(
        gain_db=0.0,
        polarity=False,
        num_time_masks=0,
        time_mask_frames=8,
        num_mel_masks=0,
        mel_mask_bands=16,
    )
    return defaults | settings


def training(**settings) -> dict:
    """The training section.

    `patience`: stop when the validation loss has not decreased for more than so many epochs, or
    with `stop_by` a score of the task not increased: of a recogniser `top1`, its accuracy (share
    of windows whose strongest class is a label); of a separator `amplitude_sdr`;
    `best_by`: the epoch that is kept has the lowest validation `loss`, or the highest such score;
    `min_steps_per_epoch`: an epoch is as many whole passes over the data as give so many steps
    (0: one pass); `max_steps_per_epoch`: cut passes short (0: never); `repeats`: so many seeds, one
    after the other; `log_every_steps`: how often scalars are written; `checkpoint_every_steps`:
    besides the end of every epoch (0: never).
    """
    defaults = dict(
        batch_size=128,
        num_epochs=100,
        patience=2,
        stop_by="loss",
        best_by="loss",
        min_steps_per_epoch=0,
        repeats=1,
        log_every_steps=20,
        checkpoint_every_steps=0,
        max_steps_per_epoch=0,
    )
    return defaults | settings


def evaluation(**settings) -> dict:
    """The evaluation section.

    `hop_s`: distance of windows at test time; `aggregation`: `s1`, `s2` or `max`, from window
    probabilities to clip scores; `threshold`: what a clip score must reach (0: the aggregation's
    own); `num_bootstrap`: resamples of songs for the intervals; `baselines`: score the majority
    class and MFCC statistics on the same clips too; `batch_size`: windows at a time.
    """
    defaults = dict(
        batch_size=128,
        hop_s=0.5,
        aggregation="s2",
        threshold=0.0,
        num_bootstrap=1000,
        baselines=True,
    )
    return defaults | settings


def separation_evaluation(**settings) -> dict:
    """The evaluation section of a separator.

    `hop_s`: distance of windows over a track, whose estimates are averaged; `post_db`: what lies
    below it in an estimate is removed by the postprocessing; `phase` of the estimated waveforms:
    the `mixture`'s, or by `griffin-lim` in `griffin_lim_iterations`; `batch_size`: windows at a
    time.
    """
    defaults = dict(
        batch_size=8, hop_s=0.75, post_db=-60.0, phase="mixture", griffin_lim_iterations=32
    )
    return defaults | settings


def finish(config: config_dict.ConfigDict, args) -> config_dict.ConfigDict:
    """Adds what every config has, applies `debug` when it was asked for, and locks the keys."""
    config.seed = 0
    config.profile = dict(start_step=10, num_steps=0)
    if args.debug:
        debug(config)
    return config.lock()


def debug(config: config_dict.ConfigDict) -> None:
    """Shrinks any config so that it runs from data to report in well under a minute."""
    if "size" in config.data:
        config.data.size = "tiny"
    config.training.batch_size = 8
    config.training.num_epochs = 2
    config.training.max_steps_per_epoch = 3
    config.training.min_steps_per_epoch = 0
    config.training.log_every_steps = 1
    config.profile.start_step = 1
    config.evaluation.batch_size = 16
    if "num_bootstrap" in config.evaluation:
        config.evaluation.num_bootstrap = 100
