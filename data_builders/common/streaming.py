"""TFDS builders that write examples as they are generated, shard by shard.

TFDS's own `GeneratorBasedBuilder` keeps a split in memory to shuffle it, and for more than 1 GB it
needs TensorFlow's file system, which is not installed. Since the data pipeline shuffles anyway,
examples are written in the order in which they are generated, with only one in memory at a time.
"""

import abc
import contextlib
import json
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_builders.common.clip_index import clip_index
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.progress import progress_bar

_SHARD_BYTES = 256 << 20


class _Info(tfds.core.DatasetInfo):
    """Dataset information that is never looked up online.

    Whenever a builder is created, TFDS looks for published information about its dataset, which
    leaves an empty temporary folder behind. None is published for these datasets, so this class
    skips the lookup.
    """

    def initialize_from_bucket(self) -> None:
        """Do nothing, since no information is published."""


class StreamingBuilder(tfds.core.GeneratorBasedBuilder):
    """A `tfds.core.GeneratorBasedBuilder` that always writes array_record files.

    ``_split_generators`` returns a dict that maps each split name to an iterable of (key, example)
    pairs. If the iterable has a length (``__len__`` or ``__length_hint__``), the progress bar shows
    it as the total.
    """

    #: Plural noun for examples, used in messages.
    UNIT = "clips"

    @property
    def builder_config(self) -> Any:
        """This builder's config; subclasses narrow its type."""
        return super().builder_config

    def dataset_info_from_configs(self, **kwargs: Any) -> tfds.core.DatasetInfo:
        """Return information about this dataset; see `tfds.core.DatasetInfo`."""
        return _Info(builder=self, **kwargs)

    def index(self, split: str) -> Any:
        """Return the index of the examples in a prepared split; see `clip_index`."""
        return clip_index(self, split)

    def _generate_examples(self, examples: Any, /) -> Iterable:
        return examples

    def _written(self, split: str, example: Mapping[str, Any]) -> None:
        """Process an example that has just been written; subclasses may override this."""

    def _download_and_prepare(self, dl_manager, download_config: Any = None) -> None:
        del download_config
        self.info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD, override=True)
        splits: Mapping[str, Iterable[tuple[str, Any]]] = self._split_generators(dl_manager)
        infos = [self._write_split(name, examples) for name, examples in splits.items()]
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _write_split(self, split: str, examples: Iterable[tuple[str, Any]]) -> tfds.core.SplitInfo:
        template = self._get_filename_template(split_name=split)
        shards = _Shards(os.path.join(template.data_dir, split))
        features = cast(Any, self.info.features)
        serializer = ExampleSerializer(features.get_serialized_info())
        keys = set()
        for key, example in progress_bar(
            examples,
            desc=f"{self.name} {split}",
            unit=f" {self.UNIT}",
            total=operator.length_hint(examples) or None,
        ):
            if key in keys:
                raise ValueError(f"{self.name} {split}: two examples with the key {key!r}")
            keys.add(key)
            record = serializer.get_tf_example(features.encode_example(example))
            # By default, the order of the serialised features differs between processes.
            shards.write(record.SerializeToString(deterministic=True))
            self._written(split, example)
        if not keys:
            raise UserError(f"{self.name}: the {split!r} split has no examples; check the files")
        shards.close()
        for index, path in enumerate(shards.paths):
            os.replace(
                path, template.sharded_filepath(shard_index=index, num_shards=len(shards.paths))
            )
        return tfds.core.SplitInfo(
            name=split,
            shard_lengths=shards.lengths,
            num_bytes=shards.num_bytes,
            filename_template=template,
        )


class OptionsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Base class for builders that are created either from a config or from options.

    Subclasses define ``make_config``, which returns the config for the given options.
    """

    make_config: Callable[..., tfds.core.BuilderConfig]

    def __init__(self, *, config=None, data_dir=None, version=None, file_format=None, **options):
        super().__init__(
            config=config or self.make_config(**options),
            data_dir=data_dir,
            version=version,
            file_format=file_format,
        )


class IndexedBuilder(StreamingBuilder):
    """A `StreamingBuilder` that also writes an index of the examples, without their audio."""

    UNIT = "segments"
    #: Prefix of the index file name.
    INDEX = "index"

    def index(self, split: str) -> list[dict[str, Any]]:
        """Return a prepared split's index rows, in the same order as ``as_data_source(split)``.

        Raises:
            UserError: if the index is missing or damaged.
        """
        path = self._index_path(self.data_dir, split)
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: missing or damaged file in a prepared dataset; delete the folder and "
                "start again"
            ) from error

    @abc.abstractmethod
    def _row(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """Return an example's index row, whose values must be serialisable as JSON."""

    def _write_split(self, split: str, examples: Iterable) -> tfds.core.SplitInfo:
        self._rows: list[dict[str, Any]] = []
        info = super()._write_split(split, examples)
        data_dir = self._get_filename_template(split_name=split).data_dir
        write_json(self._index_path(data_dir, split), self._rows)
        return info

    def _written(self, split: str, example: Mapping[str, Any]) -> None:
        self._rows.append(self._row(example))

    def _index_path(self, data_dir: str | os.PathLike, split: str) -> Path:
        return Path(data_dir, f"{self.INDEX}-{split}.json")


class _Shards:
    """Writer that divides records among files of limited size.

    The files have temporary names, since their final names contain the number of files.
    """

    def __init__(self, prefix: str):
        self._prefix = prefix
        self._writer: ArrayRecordWriter | None = None
        self._bytes_left = 0
        self.paths: list[str] = []
        self.lengths: list[int] = []
        self.num_bytes = 0

    def write(self, record: bytes) -> None:
        writer = self._writer
        if writer is None or self._bytes_left <= 0:
            self.close()
            self.paths.append(f"{self._prefix}.{len(self.paths)}.writing")
            self.lengths.append(0)
            self._writer = writer = ArrayRecordWriter(self.paths[-1], "group_size:1")
            self._bytes_left = _SHARD_BYTES
        with _disk_errors(self.paths[-1]):
            writer.write(record)
        self._bytes_left -= len(record)
        self.lengths[-1] += 1
        self.num_bytes += len(record)

    def close(self) -> None:
        if self._writer is not None:
            with _disk_errors(self.paths[-1]):
                self._writer.close()


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # raised by array_record on a full disk
        reason = str(error).partition(";")[0]
        raise UserError(f"{path}: {reason}; free some space or choose another folder") from error
