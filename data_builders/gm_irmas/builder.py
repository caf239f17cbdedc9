"""Rendered counterpart of `irmas`: rule-based music played by General MIDI sampled instruments.

It has the features, formats, splits and statistics of the real dataset: 3 s training clips with one
label each in IRMAS's class proportions, about three per song; test clips of 5 to 20 s with one to
five labels. It is always available, but it is not IRMAS, and reports on it say so.

Version 1.0.0 is frozen: any change to the music requires a new version.
"""

import dataclasses
from collections.abc import Iterator

import tensorflow_datasets as tfds

from data_builders.common.features import FORMATS, recognition_features
from data_builders.common.rendered import RenderedConfig, make_configs
from data_builders.common.streaming import StreamingBuilder
from data_builders.gm_irmas.plan import SIZES, ClipPlan, plan_clips
from data_builders.gm_irmas.render import VERSION as MUSIC_VERSION
from data_builders.gm_irmas.render import RenderedClip, render_clip
from data_builders.rendering import pool, synth
from irec_jax.labels import IRMAS

__all__ = [
    "ClipPlan",
    "GmIrmas",
    "RenderedClip",
    "plan_clips",
    "render_clip",
]


class GmIrmas(StreamingBuilder):
    """Builder of `gm_irmas`."""

    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {MUSIC_VERSION: "Frozen before any model was trained on it."}
    BUILDER_CONFIGS = make_configs(SIZES, FORMATS)
    DEFAULT_BUILDER_CONFIG_NAME = "small-mono22k"
    #: Number of rendering processes; None for one per core. The data do not depend on it.
    num_workers: int | None = None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__,
            features=recognition_features(IRMAS, FORMATS[self.builder_config.format]),
        )

    def _split_generators(self, dl_manager) -> dict[str, "_Examples"]:
        del dl_manager  # nothing is downloaded
        synth.check_soundfont(self.builder_config.soundfont)
        return {split: self._generate_examples(split) for split in ("train", "test")}

    def _generate_examples(self, split: str) -> "_Examples":
        return _Examples(self.builder_config, split, self.num_workers)


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The (id, example) pairs of a split, rendered on iteration."""

    config: RenderedConfig
    split: str
    num_workers: int | None

    def __len__(self) -> int:
        return len(plan_clips(self.config.size, self.split))

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        form = FORMATS[self.config.format]
        tasks = (
            (clip, self.config.soundfont, form.sample_rate_hz, form.num_channels)
            for clip in plan_clips(self.config.size, self.split)
        )
        return pool.run(
            "data_builders.gm_irmas.render:render_example", tasks, num_workers=self.num_workers
        )
