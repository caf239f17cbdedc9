"""Local copies of remote checkpoints, for orbax to read and write.

A remote checkpoint is complete if it has checksums, which are copied last and deleted first. An
interrupted run may leave checkpoints without checksums, which are ignored.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from irec_jax import remote
from irec_jax.checkpoints.checksums import CHECKSUM_FILE
from irec_jax.errors import UserError
from irec_jax.files import temporary_file_error


class Mirror:
    """A local copy of a remote checkpoint folder; a local folder is used directly.

    Attributes:
        local: the folder that orbax uses.
    """

    def __init__(self, folder: Path):
        self._remote: Path | None = None
        if remote.is_remote(folder):
            self._temporary = tempfile.TemporaryDirectory(prefix="irec-checkpoints-")
            self._remote, self.local = folder, Path(self._temporary.name)
        else:
            self.local = folder.absolute()

    def fetch(self) -> bool:
        """Copy complete checkpoints from the remote folder; return whether the local folder exists.

        A checkpoint that another run deletes during the copy is skipped.

        Raises:
            UserError: if the remote folder cannot be read, or the local one cannot be written.
        """
        if self._remote is None:
            return self.local.is_dir()
        for name in remote.names(self._remote):
            if name.isdigit() and self._is_complete(name):
                try:
                    remote.download(self._remote / name, self.local / name)
                except OSError as error:
                    raise temporary_file_error(error) from error
                except UserError:
                    shutil.rmtree(self.local / name, ignore_errors=True)
                    if self._is_complete(name):
                        raise
        return True

    def publish(self) -> None:
        """Copy new checkpoints to the remote folder, and delete those that no longer exist locally.

        Raises:
            UserError: if the remote folder cannot be written, or another run has taken it over.
        """
        if self._remote is None:
            return
        ours = {path.name for path in self.local.iterdir() if _is_checkpoint(path.name)}
        theirs = {name for name in remote.names(self._remote) if _is_checkpoint(name)}
        for name in sorted(ours):
            if name not in theirs or name.isdigit() and not self._is_complete(name):
                remote.upload(self.local / name, self._remote / name, last=CHECKSUM_FILE)
        for name in sorted(theirs - ours):
            if name.isdigit():
                remote.remove(self._remote / name, first=CHECKSUM_FILE)

    def close(self) -> None:
        """Delete the local copy of a remote folder."""
        if self._remote is not None:
            self._temporary.cleanup()

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Replace the local folder with the remote one in error messages."""
        try:
            yield
        except UserError as error:
            if self._remote is None:
                raise
            raise UserError(self.rename(str(error))) from error

    @property
    def is_copy(self) -> bool:
        """Whether the local folder is a temporary copy of a remote one."""
        return self._remote is not None

    def rename(self, text: str) -> str:
        """Replace the local folder with the remote one in a text."""
        return text if self._remote is None else text.replace(str(self.local), str(self._remote))

    def _is_complete(self, name: str) -> bool:
        assert self._remote is not None
        return remote.read(self._remote / name / CHECKSUM_FILE) is not None


def _is_checkpoint(name: str) -> bool:
    return name.removesuffix(".damaged").isdigit()
