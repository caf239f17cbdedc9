"""Plans of the `gm_wild` clips: contents and main instruments."""

import dataclasses

import numpy as np

from data_builders.gm_irmas.plan import apportion
from data_builders.rendering import seeding
from irec_jax.labels import IRMAS

#: Kind of content -> share of the clips.
CONTENTS = {"solo": 0.38, "notes": 0.22, "ensemble": 0.28, "other": 0.12}
#: Weight of each class as the main instrument, higher for classes whose sound varies most.
_CLASS_WEIGHTS = dict.fromkeys(IRMAS, 1.0) | dict(voi=1.8, gac=1.4, gel=1.4, pia=1.4)
#: Number of clips in each split.
SIZES = {
    "tiny": {"train": 64, "validation": 32, "test": 32},
    "small": {"train": 12_000, "validation": 600, "test": 800},
    "full": {"train": 24_000, "validation": 2400, "test": 2400},
}


@dataclasses.dataclass(frozen=True)
class ClipPlan:
    """Plan of a clip.

    Attributes:
        split: ``train``, ``validation`` or ``test``.
        index: number of the clip within the split.
        content: key of `CONTENTS`.
        label: class of the main instrument; empty if the content is ``other``.
    """

    split: str
    index: int
    content: str
    label: str

    @property
    def name(self) -> str:
        """Name of the clip, unique within the dataset."""
        return f"{self.split}-{self.content}-{self.label or 'none'}-{self.index:05d}"


def plan_clips(size: str, split: str) -> list[ClipPlan]:
    """Return the plans of all clips of a split in random order.

    Raises:
        ValueError: if the size or split is unknown.
    """
    if size not in SIZES or split not in SIZES[size]:
        raise ValueError(f"unknown size {size!r} or split {split!r}")
    drawn = []
    counts = apportion(SIZES[size][split], list(CONTENTS.values()))
    for content, count in zip(CONTENTS, counts, strict=True):
        if content == "other":
            drawn += [(content, "")] * count
            continue
        per_class = apportion(count, list(_CLASS_WEIGHTS.values()))
        for label, number in zip(IRMAS, per_class, strict=True):
            drawn += [(content, label)] * number
    order: np.ndarray = seeding.generator("gm_wild", "order", split).permutation(len(drawn))
    return [ClipPlan(split, index, *drawn[position]) for index, position in enumerate(order)]
