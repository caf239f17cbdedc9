"""Shared config parts: arguments, sections with defaults, and debug settings."""

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import config_dict

import data_builders
from irec_jax.crosstalk.activity import DEFAULT_THRESHOLD_DB
from irec_jax.errors import UserError


def has_classes(dataset: str, classes: Iterable[str]) -> bool:
    """Return whether a dataset has all the given classes; False for a user's own clips."""
    description = data_builders.DATASETS.get(dataset)
    return description is not None and {*classes} <= {*(description.classes or ())}


def has_test_parts(dataset: str) -> bool:
    """Return whether a dataset's test split is divided into parts."""
    description = data_builders.DATASETS.get(dataset)
    return description is not None and bool(description.test_parts)


def dataset_options(dataset: str, kind: str) -> dict[str, Any]:
    """Return a dict of a dataset's options and their defaults (None if there is no default).

    `format` and `classes` are omitted, because the config sets them. `irec build --help` explains
    the options.

    Raises:
        UserError: no dataset of this kind has this name.
    """
    known = {
        name: description
        for name, description in data_builders.DATASETS.items()
        if description.kind == kind
    }
    options = inspect.signature(choose("dataset", dataset, known).create_builder).parameters
    return {
        name: config_dict.placeholder(str) if option.default is None else option.default
        for name, option in options.items()
        if name not in ("format", "classes", "data_dir")
    }


def arguments(text: str | None, **defaults):
    """Parse config arguments, the part of `--config=FILE:TEXT` after the colon.

    Args:
        text: comma-separated flags and `key=value` pairs, such as `debug,dataset=irmas`.
        **defaults: default values of the arguments. A type may be given instead of a value; the
            default is then None. Every config also accepts `debug` and `dataset`.

    Returns:
        ConfigDict with the arguments; each value has the same type as its default.

    Raises:
        UserError: an argument is unknown, or a value has the wrong type.
    """
    defaults = dict(debug=False, dataset="gm_irmas") | defaults
    args = config_dict.ConfigDict(
        {k: config_dict.placeholder(v) if isinstance(v, type) else v for k, v in defaults.items()}
    )
    for item in filter(None, (text or "").split(",")):
        key, equals, value = (part.strip() for part in item.partition("="))
        if key not in args:
            near = difflib.get_close_matches(key, args.keys(), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(args.keys())}"
            raise UserError(f"unknown config argument {key!r}: {hint}")
        if isinstance(args[key], bool):
            known = {"": True, "true": True, "1": True, "false": False, "0": False}
            if value.lower() not in known:
                raise UserError(f"config argument {key}={value}: expected {key} or {key}=false")
            args[key] = known[value.lower()]
            continue
        if not equals:
            raise UserError(f"config argument {key!r}: needs a value; write {key}=VALUE")
        kind = args.get_type(key)
        try:
            args[key] = kind(value)
        except ValueError:
            message = f"config argument {key}={value}: expected {kind.__name__}"
            raise UserError(message) from None
    return args


def choose(argument: str, value: str, table: Mapping[str, Any]) -> Any:
    """Return the table entry for a config argument's value.

    Raises:
        UserError: the value is not in the table.
    """
    if value not in table:
        near = difflib.get_close_matches(value, table, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(table)}"
        raise UserError(f"config argument {argument}={value}: {hint}")
    return table[value]


def data(dataset: str, **settings) -> dict:
    """Return the data section for a recogniser: dataset, options, and how the data are used.

    - `dir`: folder of prepared datasets (None: $TFDS_DATA_DIR or ~/tensorflow_datasets).
    - `manual_dir`: folder of manually downloaded files (None: download them automatically).
    - `cache_gb`: keep the audio of a split in memory if it fits in this many gigabytes.
    - `placement`: `device` copies the training and validation audio to each device before training
      and cuts the windows there; `host` sends every batch to the devices; `auto` selects `device`
      on accelerators if the audio fits, and `host` otherwise. The batches do not depend on the
      placement.
    - `classes`: use only these classes, in this order, and only the clips with at least one of them
      (empty: all).
    - `channels`: `mean` averages a clip's channels; `separate` uses each channel as an example.
    - `hop_s`: hop between training windows in seconds (None: `window_s`, no overlap).
    - `normalize`: `peak` divides a waveform by its clip's peak; `none` leaves it as recorded.
    - `split`: `official` uses the dataset's own test split, with clips of any length. `parts` adds
      part 2 of that test split to the training clips and tests on part 3, using the first
      `window_s` seconds of each clip. `song` and `window` divide the windows of the training clips
      into training, validation and test splits: `song` keeps each song in one split; `window`
      divides the windows at random, which overestimates the scores, because overlapping windows
      from the same clip end up in different splits.
    - `validation_fraction`, `test_fraction`: fractions of the examples that are used for validation
      and testing.
    - `split_validation`: with the `official` and `parts` splits, hold out complete songs for
      validation (`song`), or clips at random (`random`), so that clips from the same song may be
      used for both training and validation. Ignored if the dataset has its own validation clips.
    - `stored` (not set in any config): folder of separated clips that `irec study separation` has
      written; they replace the original clips. Requires `split=parts` and, for separated features,
      the `stored` front end.
    """
    if dataset in data_builders.DATASETS and data_builders.DATASETS[dataset].kind == "multitrack":
        kept = {k: settings[k] for k in ("window_s", "hop_s", "normalize") if k in settings}
        return instances(dataset, **kept, validation_fraction=settings["validation_fraction"])
    options = dataset_options(dataset, "clips")
    shared = dict(
        name=dataset,
        dir=config_dict.placeholder(str),
        manual_dir=config_dict.placeholder(str),
        cache_gb=1.0,
        placement="auto",
        classes=(),
        channels="mean",
        hop_s=config_dict.placeholder(float),
        normalize="peak",
        split="official",
        split_validation="song",
        test_fraction=0.15,
    )
    return shared | settings | options


def instances(dataset: str, **settings) -> dict:
    """Return the data section for a recogniser of multitrack pieces, with labels over time.

    - `dir`, `manual_dir`, `cache_gb`, `placement`, `normalize`: as in `data`.
    - `window_s`: length of the network's input windows in seconds.
    - `label_s`: length of an instance in seconds; an instance is the central part of a window, and
      is what the labels describe (None: `window_s`).
    - `hop_s`: hop between training instances in seconds (None: `label_s`, no overlap).
    - `threshold_db`: an instrument counts as playing if, in any frame of the instance, the RMS of
      one of its tracks reaches this level in dB relative to the track's maximum RMS.
    - `reduction`: reduce the crosstalk between spot microphones before measuring the RMS.
    - `split`, `channels`: always `official` and `mean`.
    """
    options = dataset_options(dataset, "multitrack")
    shared = dict(
        name=dataset,
        format="multitrack44k",
        dir=config_dict.placeholder(str),
        manual_dir=config_dict.placeholder(str),
        cache_gb=1.0,
        placement="auto",
        channels="mean",
        hop_s=config_dict.placeholder(float),
        label_s=config_dict.placeholder(float),
        normalize="peak",
        split="official",
        threshold_db=DEFAULT_THRESHOLD_DB,
        reduction=True,
    )
    return shared | settings | options


def stems(dataset: str, **settings) -> dict:
    """Return the data section for a separator: stem dataset, options, and how the data are used.

    - `dir`, `manual_dir`, `cache_gb`, `placement`: as in `data`.
    - `target`: names of the stems to keep, joined by `+`.
    - `window_s`: segment length in seconds.
    - `split`: `official` uses the dataset's own training, validation and test tracks. `validation`,
      for datasets without test tracks, tests on the validation tracks and validates on
      `validation_fraction` of the training tracks.
    - `remix`: fraction of the examples whose stems are drawn independently, each from a random
      track and position.
    - `channels`: `mean` averages the two channels of a stem; `random` picks the left channel, the
      right channel or their mean.
    """
    options = dataset_options(dataset, "stems")
    shared = dict(
        name=dataset,
        dir=config_dict.placeholder(str),
        manual_dir=config_dict.placeholder(str),
        cache_gb=2.0,
        placement="auto",
        target="vocals+other",
        window_s=3.0,
        split="official",
        validation_fraction=0.2,
        remix=0.5,
        channels="mean",
    )
    return shared | settings | options


def stem_augment(**settings) -> dict:
    """Return the augment section for a separator (default: none); see `augment/stems.py`."""
    defaults = dict(
        gain_db=0.0,
        polarity=False,
        mixture_polarity=False,
        reversal=False,
        stretch=(1.0, 1.0),
        pitch_semitones=0.0,
        whole_semitones=False,
    )
    return defaults | settings


def augment(**settings) -> dict:
    """Return the augment section for a recogniser (default: none); see `augment/features.py`."""
    defaults = dict(
        mix=0.0,
        mix_db=10.0,
        stretch=(1.0, 1.0),
        pitch_semitones=0.0,
        gain_db=0.0,
        polarity=False,
        speed_semitones=0.0,
        distortion=0.0,
        compression=0.0,
        equaliser_db=0.0,
        band_limit=0.0,
        room=0.0,
        noise_db=config_dict.placeholder(float),
        num_time_masks=0,
        time_mask_frames=8,
        num_mel_masks=0,
        mel_mask_bands=16,
    )
    return defaults | settings


def adam(learning_rate: float, *, clip_norm: float | None = None, schedule: str | None = None):
    """Return the optimizer section for Adam.

    - `schedule`: name of an optax schedule (None: constant learning rate).
    - `clip_norm`: maximum global gradient norm (None: no clipping).
    """
    return dict(
        name="adam",
        learning_rate=learning_rate,
        schedule=dict(name=schedule or config_dict.placeholder(str)),
        clip_norm=clip_norm or config_dict.placeholder(float),
    )


def training(**settings) -> dict:
    """Return the training section.

    - `init_from`: trained system that provides the initial parameters: a workdir, a folder written
      by `irec export`, `pretrained` for the recogniser that comes with irec-jax, or the name of
      another pretrained system (None: start from random parameters). The front end and the network
      must match, except for dropout and `dtype`; if the classes differ, the last layer is
      initialised at random.
    - `ema_decay`: decay of an exponential moving average of the parameters and batch norm
      statistics (None: no average). Validation, early stopping, evaluation and the trained system
      use the average instead of the current parameters. The decay after step n is at most
      (1 + n) / (10 + n), so that 0.99 is reached after 890 steps and 0.999 after 8,990.
    - `patience`: training stops when `stop_by` has not improved for more than this many epochs.
    - `stop_by`: `loss` (the validation loss) or a validation score. Recognisers have `top1` (the
      fraction of windows whose most probable class is one of their labels) and `auc` (the macro
      ROC AUC over windows); separators have `amplitude_sdr`.
    - `keep`: which epoch's parameters to keep, `best` or `last`.
    - `best_by`: criterion for the best epoch, with the same choices as `stop_by`.
    - `min_steps_per_epoch`: minimum number of steps per epoch, reached by repeating complete passes
      over the data (None: one pass).
    - `max_steps_per_epoch`: maximum number of steps in a pass (None: complete passes).
    - `repeats`: number of runs, with consecutive seeds.
    - `log_every_steps`: steps between TensorBoard scalars.
    - `checkpoint_every_s`: seconds between checkpoints within an epoch (None: checkpoints only
      after each epoch).
    - `checkpoint_every_steps`: steps between checkpoints within an epoch (None: only
      `checkpoint_every_s` applies).
    - `steps_per_call`: number of steps dispatched together (None: 1 on the CPU; on accelerators,
      enough steps to make the overhead per call small). Checkpoints are written between calls.
    """
    defaults = dict(
        batch_size=128,
        num_epochs=100,
        patience=2,
        stop_by="loss",
        keep="best",
        best_by="loss",
        ema_decay=config_dict.placeholder(float),
        init_from=config_dict.placeholder(str),
        min_steps_per_epoch=config_dict.placeholder(int),
        repeats=1,
        log_every_steps=20,
        checkpoint_every_s=600.0,
        checkpoint_every_steps=config_dict.placeholder(int),
        max_steps_per_epoch=config_dict.placeholder(int),
        steps_per_call=config_dict.placeholder(int),
    )
    return defaults | settings


def evaluation(**settings) -> dict:
    """Return the evaluation section for a recogniser.

    - `batch_size`: windows per batch.
    - `hop_s`: hop between windows in seconds at test time.
    - `aggregation`: how window probabilities are combined into clip scores: `s1`, `s2`, `max` or
      `top`.
    - `threshold`: minimum score of a detected class (None: the aggregation's default; see
      `irec_jax.inference.aggregation`).
    - `max_decay_db`: leave each window out of the clip scores that is softer, by more than this
      value in dB, than an earlier window that overlaps or adjoins it, because an earlier sound
      decays there. Silent windows are left out, too (None: use all windows).
    - `num_bootstrap`: number of times the songs are resampled for the confidence intervals.
    - `baselines`: also evaluate two baselines, the majority class and MFCC statistics, on the same
      clips.
    - `per_piece` (configs for multitrack pieces): also average the scores over pieces.
    """
    defaults = dict(
        batch_size=128,
        hop_s=0.5,
        aggregation="s2",
        threshold=config_dict.placeholder(float),
        max_decay_db=config_dict.placeholder(float),
        num_bootstrap=1000,
        baselines=True,
    )
    return defaults | settings


def separation_evaluation(**settings) -> dict:
    """Return the evaluation section for a separator.

    - `batch_size`: windows per batch.
    - `windows`: `overlapping` averages the estimates of overlapping windows; `side_by_side`
      synthesises adjacent windows independently (see `inference/side_by_side.py`).
    - `hop_s`: hop between overlapping windows in seconds.
    - `post_db`: postprocessing removes bins below this level in dB from an estimate (see
      `frontends/gate.py`).
    - `post_reference`: reference level for `post_db`: `absolute`, or the maximum of the complete
      `track` or of each `segment`, which is as long as a window.
    - `post_fill`: value that replaces removed bins: the front end's `floor`, or `zero` (0 dB).
    - `phase`: phase of the estimated waveforms: `mixture` takes it from the mixture; `griffin-lim`
      estimates it in `griffin_lim_iterations` iterations.
    """
    defaults = dict(
        batch_size=8,
        windows="overlapping",
        hop_s=0.75,
        post_db=-60.0,
        post_reference="segment",
        post_fill="floor",
        phase="mixture",
        griffin_lim_iterations=32,
    )
    return defaults | settings


def finish(config: config_dict.ConfigDict, args) -> config_dict.ConfigDict:
    """Add the keys that all configs share, apply any debug settings, and lock the config."""
    config.seed = 0
    config.profile = dict(start_step=10, num_steps=0)
    if args.debug:
        debug(config)
    return config.lock()


def debug(config: config_dict.ConfigDict) -> None:
    """Shrink a config so that it runs from data to report in a minute (U-Net: a few minutes)."""
    if "size" in config.data:
        config.data.size = "tiny"
    config.training.batch_size = 8
    config.training.num_epochs = 2
    config.training.max_steps_per_epoch = 3
    config.training.min_steps_per_epoch = None
    config.training.log_every_steps = 1
    config.profile.start_step = 1
    config.evaluation.batch_size = 16
    if "num_bootstrap" in config.evaluation:
        config.evaluation.num_bootstrap = 100
