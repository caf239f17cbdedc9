"""Rendered clips of one or more instruments, played with one or more sound libraries.

Each clip lasts 3 s. It contains phrases of one instrument, single notes between pauses, an
ensemble, or none of the classes (percussion, other instruments, noise or silence). Its labels are
the IRMAS classes that are at most 10 dB weaker than the strongest instrument. Each split can use
its own libraries, so that scores show how a recogniser copes with sounds that it was not trained
on. There is a validation split only if libraries are given for it.

Version 1.2.0 is frozen: any change to the music requires a new version.
"""

import dataclasses
from collections.abc import Iterator

import tensorflow_datasets as tfds

from data_builders.common.features import FORMATS, recognition_features
from data_builders.common.streaming import StreamingBuilder
from data_builders.gm_wild.plan import SIZES, plan_clips
from data_builders.gm_wild.render import VERSION as MUSIC_VERSION
from data_builders.rendering import libraries, pool
from irec_jax import registry
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS


@dataclasses.dataclass(eq=False, kw_only=True)
class WildConfig(tfds.core.BuilderConfig):
    """Config of `gm_wild`.

    Attributes:
        size: tiny, small or full.
        format: format of the audio.
        sounds: split -> names of its sound libraries.
    """

    size: str = "small"
    format: str = "mono22k"
    sounds: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)


def make_config(
    size: str,
    format: str,
    *,
    sounds: str = "timgm",
    validation_sounds: str | None = None,
    test_sounds: str | None = None,
) -> WildConfig:
    """Return the config for the given options; its name reflects them and the library files.

    Raises:
        UserError: if the size, the format or a library is unknown, or the training libraries have
            only one kind of instrument.
    """
    for option, value, known in (("size", size, SIZES), ("format", format, FORMATS)):
        if value not in known:
            raise registry.unknown(option, value, known)
    names = {"train": libraries.parse_names(sounds)}
    if not names["train"]:
        raise UserError(f"sounds={sounds!r}: expected names of sound libraries, such as timgm")
    limits = [libraries.LIBRARIES[name].only for name in names["train"]]
    if all(limits):
        raise UserError(
            f"sounds={sounds}: plays only {' and '.join(limits)}; add a library with more "
            f"instruments, such as timgm+{sounds}"
        )
    if validation_sounds:
        names["validation"] = libraries.parse_names(validation_sounds)
    names["test"] = libraries.parse_names(test_sounds or sounds)
    words = ["-".join(names["train"])]
    if validation_sounds:
        words += ["validation", *names["validation"]]
    if names["test"] != names["train"]:
        words += ["test", *names["test"]]
    joined = "-".join(words)
    digest = libraries.fingerprint(sorted({name for split in names.values() for name in split}))
    return WildConfig(
        name=f"{size}-{format}-{joined}-{digest}",
        description=f"{size}, {format}, played by {joined}",
        size=size,
        format=format,
        sounds=names,
    )


class GmWild(StreamingBuilder):
    """Builder of `gm_wild`."""

    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {
        "1.0.0": "First version.",
        "1.1.0": "Instruments of different sizes, more single notes, 12,000 clips.",
        MUSIC_VERSION: "Playing techniques, a wider range of dynamics, register and tone.",
    }
    #: Number of rendering processes; None for one per core. The data do not depend on it.
    num_workers: int | None = None

    def __init__(self, *, config: WildConfig | None = None, **options):
        super().__init__(config=config or make_config("small", "mono22k"), **options)

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__,
            features=recognition_features(IRMAS, FORMATS[self.builder_config.format]),
        )

    def _split_generators(self, dl_manager) -> dict[str, "_Examples"]:
        del dl_manager  # nothing is downloaded
        for name in {name for names in self.builder_config.sounds.values() for name in names}:
            libraries.find(name)
        return {split: _Examples(self, split) for split in self.builder_config.sounds}


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The (id, example) pairs of a split, rendered during iteration."""

    builder: GmWild
    split: str

    def __len__(self) -> int:
        return len(plan_clips(self.builder.builder_config.size, self.split))

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        config = self.builder.builder_config
        form = FORMATS[config.format]
        tasks = (
            (clip, config.sounds[self.split], form.sample_rate_hz, form.num_channels)
            for clip in plan_clips(config.size, self.split)
        )
        function = "data_builders.gm_wild.render:render_example"
        return pool.run(function, tasks, num_workers=self.builder.num_workers)
