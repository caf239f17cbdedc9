"""Rendered counterpart of `musdb18`: pop and rock songs of four stems that add up to the mixture.

Composed by rule and played by General MIDI sampled instruments: drums with fills and stops, bass,
two to five other instruments, and a voice that sings vowels and consonants but no words. The same
features and splits as the real dataset, its numbers of songs in the size `full`, and levels about
those of its stems. The mixture is the exact sum of the stems. It is always available, but nobody
recorded it: results on it say so.

Version 1.0.0 is frozen: other music is another version.
"""

import dataclasses
from collections.abc import Iterator

import tensorflow_datasets as tfds

from data_builders.common import stems as stem_base
from data_builders.common.features import stem_features
from data_builders.common.rendered import RenderedConfig, make_configs
from data_builders.gm_musdb.plan import SIZES, SPLITS, plan_songs
from data_builders.gm_musdb.render import VERSION as MUSIC_VERSION
from data_builders.rendering import pool, synth
from irec_jax.labels import STREAMS


class GmMusdb(stem_base.StemBuilder):
    """Builder of `gm_musdb`; its config is a `rendered.RenderedConfig`."""

    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {MUSIC_VERSION: "Frozen before any model was trained on it."}
    BUILDER_CONFIGS = make_configs(SIZES)
    DEFAULT_BUILDER_CONFIG_NAME = "small"
    #: Processes that render; None for one a core at most. The data does not depend on it.
    num_workers: int | None = None

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(description=__doc__, features=stem_features())

    def _split_generators(self, dl_manager) -> dict[str, "_Examples"]:
        del dl_manager  # nothing is downloaded
        synth.check_soundfont(self.builder_config.soundfont)
        return {split: self._generate_examples(split) for split in SPLITS}

    def _generate_examples(self, split: str) -> "_Examples":
        return _Examples(self.builder_config, split, self.num_workers)


@dataclasses.dataclass(frozen=True)
class _Examples:
    """The (id, example) pairs of a split, rendered while they are read."""

    config: RenderedConfig
    split: str
    num_workers: int | None

    def __len__(self) -> int:
        songs = plan_songs(self.config.size, self.split)
        num_samples = (round(song.duration_s * synth.SAMPLE_RATE_HZ) for song in songs)
        return len(STREAMS) * sum(map(stem_base.num_segments, num_samples))

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        songs = plan_songs(self.config.size, self.split)
        # A process takes as long to start as a few songs to render.
        worthwhile = min(pool.num_cores(), max(1, len(songs) // 4))
        rendered = pool.run(
            "data_builders.gm_musdb.render:render_example",
            ((song, self.config.soundfont) for song in songs),
            num_workers=self.num_workers or worthwhile,
        )
        for song, streams in zip(songs, rendered, strict=True):
            yield from stem_base.track_examples(song.name, streams)
