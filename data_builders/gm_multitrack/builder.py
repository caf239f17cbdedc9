"""Rendered multitrack pieces for chamber ensembles and orchestra, with one dry stem per player.

Rule-based music for the 13 instruments of `labels.ORCHESTRA`, played by General MIDI sampled
instruments. Pieces have 3 to 14 tracks and last up to 60 s, or up to 5 minutes for size `long`.
Instruments occur about as often as in Seipel's recordings (2018, table 4.2). `crosstalk.simulate`
computes the spot microphone signals from the stems. Each piece has a random symmetric mixing
matrix, whose off-diagonal elements are at most -6, -12 or -18 dB. The mix consists of the panned
stems with reverberation. Nothing needs to be downloaded. Scores on this dataset are not scores on
recordings, and reports say so.
"""

import zlib
from collections.abc import Iterator

import numpy as np
import tensorflow_datasets as tfds

from data_builders.common import multitrack as multitrack_base
from data_builders.common.features import MULTITRACK_FORMATS, SEGMENT_S, multitrack_features
from data_builders.common.rendered import RenderedBuilder, make_configs
from data_builders.gm_multitrack.notes import note_activity
from data_builders.gm_multitrack.plan import SIZES, PiecePlan, plan_pieces
from data_builders.gm_multitrack.render import VERSION as MUSIC_VERSION
from data_builders.gm_multitrack.render import count_samples
from data_builders.rendering import pool
from irec_jax import audio
from irec_jax.labels import ORCHESTRA

#: Maximum number of rendering processes. Each needs up to 1 GB of memory for a large orchestra, and
#: up to 2 GB for the largest piece of size `long`.
_MAX_WORKERS, _MAX_LONG_WORKERS = 4, 2


class GmMultitrack(RenderedBuilder, multitrack_base.MultitrackBuilder):
    """Builder for the `gm_multitrack` dataset."""

    UNIT = "pieces"
    VERSION = tfds.core.Version(MUSIC_VERSION)
    RELEASE_NOTES = {MUSIC_VERSION: "First version."}
    BUILDER_CONFIGS = make_configs(SIZES, MULTITRACK_FORMATS)
    DEFAULT_BUILDER_CONFIG_NAME = "small-multitrack44k"

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=__doc__, features=multitrack_features(ORCHESTRA)
        )

    def note_activity(
        self, split: str, piece: str, *, num_frames: int, frame_length: int
    ) -> np.ndarray:
        """Return whether each track holds a note in each frame; see `notes.note_activity`."""
        plans = {plan.name: plan for plan in plan_pieces(self.builder_config.size, split)}
        return note_activity(
            plans[piece],
            num_frames=num_frames,
            frame_length=frame_length,
            sample_rate_hz=MULTITRACK_FORMATS[self.builder_config.format],
        )

    def _num_examples(self, split: str) -> int:
        rate_hz = MULTITRACK_FORMATS[self.builder_config.format]
        pieces = plan_pieces(self.builder_config.size, split)
        return sum(len(_segments(count_samples(piece, rate_hz), rate_hz)) for piece in pieces)

    def _render_examples(self, split: str) -> Iterator[tuple[str, dict]]:
        pieces = plan_pieces(self.builder_config.size, split)
        sample_rate_hz = MULTITRACK_FORMATS[self.builder_config.format]
        max_workers = _MAX_LONG_WORKERS if self.builder_config.size == "long" else _MAX_WORKERS
        rendered = pool.run(
            "data_builders.gm_multitrack.render:render_example",
            ((piece, self.builder_config.soundfont, sample_rate_hz) for piece in pieces),
            num_workers=self.num_workers or min(pool.num_cores(), max_workers),
        )
        for piece, (stems, mix) in zip(pieces, rendered, strict=True):
            spots, mixing = simulate_spots(stems, piece, sample_rate_hz)
            for number, part in enumerate(_segments(len(mix), sample_rate_hz)):
                yield multitrack_base.segment_example(
                    piece=piece.name, segment=number, start_s=part.start / sample_rate_hz,
                    tracks=dict(piece.tracks), mix=mix[part], spots=spots[:, part],
                    stems=stems[:, part], mixing=mixing, max_crosstalk_db=piece.max_crosstalk_db,
                )  # fmt: skip


def _segments(num_samples: int, sample_rate_hz: int) -> list[slice]:
    """Split a piece into segments of `SEGMENT_S` seconds; the last one may be shorter."""
    length = SEGMENT_S * sample_rate_hz
    return [slice(start, start + length) for start in range(0, num_samples, length)]


def simulate_spots(
    stems: np.ndarray, piece: PiecePlan, sample_rate_hz: int
) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a piece's spot microphone signals.

    Args:
        stems: dry stems, int16 (J, T).
        piece: plan for the piece. Its name seeds the symmetric mixing matrix, and its
            ``max_crosstalk_db`` is an upper bound on the off-diagonal elements.
        sample_rate_hz: sample rate of the stems.

    Returns:
        Spot microphone signals, int16 (J, T), and the mixing matrix, float32 (J, J).
    """
    # JAX takes seconds to import, and a mistyped option should be reported immediately.
    import jax

    from irec_jax import crosstalk

    # CPU results are bit-identical on every machine, and accelerators stay free for other programs.
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        mixing = crosstalk.draw_mixing(
            jax.random.key(zlib.crc32(f"{MUSIC_VERSION} {piece.name}".encode())),
            len(stems),
            max_crosstalk=10 ** (piece.max_crosstalk_db / 20),
        )
        delays = crosstalk.delays_samples(mixing, sample_rate_hz)
        spots, _ = crosstalk.simulate(audio.to_float32(stems), mixing, delays)
        return audio.to_int16(np.asarray(spots)), np.asarray(mixing)
