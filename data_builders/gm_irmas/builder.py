"""Rendered counterpart of `irmas`: rule-based music played by General MIDI sampled instruments.

The features, formats, splits and statistics match the real dataset. Training clips last 3 s and
have one label each, in IRMAS's class proportions, with about three clips per song (one for size
`tiny`). Test clips last 5 to 20 s and have one to five labels. Nothing needs to be downloaded.
Scores on this dataset are not scores on IRMAS, and reports say so.

Version 1.0.0 is frozen: any change to the music requires a new version.
"""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from data_builders.common.features import FORMATS, recognition_features
from data_builders.common.rendered import RenderedBuilder, make_configs
from data_builders.gm_irmas.plan import SIZES, plan_clips
from data_builders.gm_irmas.render import VERSION as MUSIC_VERSION
from data_builders.rendering import pool
from irec_jax.labels import IRMAS


class GmIrmas(RenderedBuilder):
    """Builder for the `gm_irmas` dataset."""

    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {MUSIC_VERSION: "Frozen before any model was trained on it."}
    BUILDER_CONFIGS = make_configs(SIZES, FORMATS)
    DEFAULT_BUILDER_CONFIG_NAME = "small-mono22k"

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__,
            features=recognition_features(IRMAS, FORMATS[self.builder_config.format]),
        )

    def _num_examples(self, split: str) -> int:
        return len(plan_clips(self.builder_config.size, split))

    def _render_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        config = self.builder_config
        form = FORMATS[config.format]
        tasks = (
            (clip, config.soundfont, form.sample_rate_hz, form.num_channels)
            for clip in plan_clips(config.size, split)
        )
        function = "data_builders.gm_irmas.render:render_example"
        return pool.run(function, tasks, num_workers=self.num_workers)
