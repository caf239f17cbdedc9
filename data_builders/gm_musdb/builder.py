"""Rendered counterpart of `musdb18`: pop and rock songs with four stems.

Rule-based music played by General MIDI sampled instruments: drums with fills and stops, bass, two
to five other instruments, and a voice that sings vowels and consonants but no words. The features
and splits match the real dataset, size `full` has as many songs, and the stem levels are similar.
The mixture is the exact sum of the stems. Nothing needs to be downloaded. Scores on this dataset
are not scores on MUSDB18, and reports say so.

Version 1.0.0 is frozen: any change to the music requires a new version.
"""

from collections.abc import Iterator

import tensorflow_datasets as tfds

from data_builders.common import stems as stem_base
from data_builders.common.features import stem_features
from data_builders.common.rendered import RenderedBuilder, make_configs
from data_builders.gm_musdb.plan import SIZES, SPLITS, plan_songs
from data_builders.gm_musdb.render import VERSION as MUSIC_VERSION
from data_builders.rendering import pool, synth
from irec_jax.labels import STREAMS


class GmMusdb(RenderedBuilder, stem_base.StemBuilder):
    """Builder for the `gm_musdb` dataset."""

    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {MUSIC_VERSION: "Frozen before any model was trained on it."}
    BUILDER_CONFIGS = make_configs(SIZES)
    DEFAULT_BUILDER_CONFIG_NAME = "small"
    SPLITS = SPLITS

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(description=__doc__, features=stem_features())

    def _num_examples(self, split: str) -> int:
        songs = plan_songs(self.builder_config.size, split)
        num_samples = (round(song.duration_s * synth.SAMPLE_RATE_HZ) for song in songs)
        return len(STREAMS) * sum(map(stem_base.num_segments, num_samples))

    def _render_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        songs = plan_songs(self.builder_config.size, split)
        # Starting a process takes as long as rendering a few songs.
        num_workers = min(pool.num_cores(), max(1, len(songs) // 4))
        rendered = pool.run(
            "data_builders.gm_musdb.render:render_example",
            ((song, self.builder_config.soundfont) for song in songs),
            num_workers=self.num_workers or num_workers,
        )
        for song, streams in zip(songs, rendered, strict=True):
            yield from stem_base.track_examples(song.name, streams)
