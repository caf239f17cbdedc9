"""A TFDS builder that writes examples as they come, one shard after the other.

TFDS's own `GeneratorBasedBuilder` holds a split in memory to shuffle it, and past a gigabyte goes
through TensorFlow's file system, which is not installed. Readers here draw at random anyway, so
the examples keep the order in which they were made, and memory stays at one example.
"""

import abc
import contextlib
import json
import operator
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
import tqdm
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from data_builders.common.clip_index import clip_index
from irec_jax.errors import UserError
from irec_jax.files import write_json

_SHARD_BYTES = 256 << 20


class StreamingBuilder(tfds.core.GeneratorBasedBuilder):
    """Base class: as `tfds.core.GeneratorBasedBuilder`, always to array_record files.

    ``_split_generators`` returns a dict of split name to an iterable of (key, example). An
    iterable with a length (``__len__`` or ``__length_hint__``) gives the progress bar its end.
    """

    #: What an example is, in what is printed.
    UNIT = "clips"

    def index(self, split: str) -> Any:
        """What is known of the examples of a prepared split without reading their audio."""
        return clip_index(self, split)

    def _written(self, split: str, example: Mapping[str, Any]) -> None:
        """Called with every example that was written."""

    def _download_and_prepare(self, dl_manager, download_config=None) -> None:
        del download_config
        self.info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD, override=True)
        splits: Mapping[str, Iterable[tuple[str, Any]]] = self._split_generators(dl_manager)
        infos = [self._write_split(name, examples) for name, examples in splits.items()]
        self.info.set_splits(tfds.core.SplitDict(infos))

    def _write_split(self, split: str, examples: Iterable[tuple[str, Any]]) -> tfds.core.SplitInfo:
        template = self._get_filename_template(split_name=split)
        shards = _Shards(os.path.join(template.data_dir, split))
        features = self.info.features
        serializer = ExampleSerializer(features.get_serialized_info())
        keys = set()
        for key, example in tqdm.tqdm(
            examples,
            desc=f"{self.name} {split}",
            unit=f" {self.UNIT}",
            total=operator.length_hint(examples) or None,
            leave=False,
        ):
            if key in keys:
                raise ValueError(f"{self.name} {split}: two examples with the key {key!r}")
            keys.add(key)
            record = serializer.get_tf_example(features.encode_example(example))
            # The features of a record in order: else each process would have an order of its own.
            shards.write(record.SerializeToString(deterministic=True))
            self._written(split, example)
        if not keys:
            raise UserError(
                f"{self.name}: nothing to put into the split {split!r}; check the files"
            )
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


class IndexedBuilder(StreamingBuilder):
    """As `StreamingBuilder`; writes an index of the examples, without their audio, beside them."""

    UNIT = "segments"
    #: What the name of the index begins with.
    INDEX = "index"

    def index(self, split: str) -> list[dict[str, Any]]:
        """A `_row` of each example of a prepared split, in the order of ``as_data_source(split)``.

        Raises:
            UserError: the index is missing or damaged.
        """
        path = self._index_path(self.data_dir, split)
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(
                f"{path}: missing from a prepared dataset; remove the folder to build it again"
            ) from error

    @abc.abstractmethod
    def _row(self, example: Mapping[str, Any]) -> dict[str, Any]:
        """What the index holds of an example: values that JSON knows."""

    def _write_split(self, split: str, examples: Iterable) -> tfds.core.SplitInfo:
        self._rows: list[dict[str, Any]] = []
        info = super()._write_split(split, examples)
        write_json(self._index_path(info.filename_template.data_dir, split), self._rows)
        return info

    def _written(self, split: str, example: Mapping[str, Any]) -> None:
        self._rows.append(self._row(example))

    def _index_path(self, data_dir: str | os.PathLike, split: str) -> Path:
        return Path(data_dir, f"{self.INDEX}-{split}.json")


class _Shards:
    """Writes records to files of bounded size; their final names hold how many there are."""

    def __init__(self, prefix: str):
        self._prefix = prefix
        self._writer = None
        self._room = 0
        self.paths: list[str] = []
        self.lengths: list[int] = []
        self.num_bytes = 0

    def write(self, record: bytes) -> None:
        if self._room <= 0:
            self.close()
            self.paths.append(f"{self._prefix}.{len(self.paths)}.writing")
            self.lengths.append(0)
            self._writer = ArrayRecordWriter(self.paths[-1], "group_size:1")
            self._room = _SHARD_BYTES
        with _disk_errors(self.paths[-1]):
            self._writer.write(record)
        self._room -= len(record)
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
    except RuntimeError as error:  # what array_record makes of a full disk
        reason = str(error).partition(";")[0]
        raise UserError(f"{path}: {reason}; free some space or name another folder") from error
