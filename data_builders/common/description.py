"""Dataset descriptions."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Literal


@dataclasses.dataclass(frozen=True)
class Description:
    """A dataset's description, defined as ``DATASET`` in its folder's ``__init__.py``.

    Attributes:
        kind: contents of an example: a labelled clip ("clips"), a segment of a track's mixture or
            of one of its stems ("stems"), or a segment of a piece with all its tracks
            ("multitrack").
        create_builder: function that returns the TFDS builder; its keyword arguments are the
            options and ``data_dir``.
        options: help text of each option, as shown by ``irec build --help``.
        rendered: True if the audio is synthesised; scores then do not apply to recordings.
        classes: class names; None if they depend on the user's files.
        test_parts: part numbers if the test split is published in parts; otherwise empty.
        describe_test: function that describes a builder's test split, needed only if the split
            depends on the user's files; see `test_split`.
    """

    kind: Literal["clips", "stems", "multitrack"]
    create_builder: Callable[..., Any]
    options: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rendered: bool = False
    classes: tuple[str, ...] | None = None
    test_parts: tuple[int, ...] = ()
    describe_test: Callable[[Any], str] | None = None

    def test_split(self, builder: Any) -> str:
        """Describe a builder's test split for reports; the data need not be prepared."""
        if self.describe_test is not None:
            return self.describe_test(builder)
        unit = {"clips": "clips", "stems": "tracks", "multitrack": "pieces"}[self.kind]
        return f"the dataset's own test {unit}"


#: Help texts for options that several datasets share.
CLIP_FORMAT = "mono22k (default; one channel, 22,050 Hz) or stereo44k (two channels, 44,100 Hz)"
MULTITRACK_FORMAT = "multitrack44k (default) or multitrack48k"
SIZE = "tiny, small (default) or full"
SOUNDFONT = "SoundFont to play the music with (default: TimGM6mb.sf2)"
