"""An object store in memory as the file system of `s3://`, for tests of remote paths."""

import errno
import io
from typing import ClassVar

import fsspec
from fsspec import AbstractFileSystem


class _Writer(io.BytesIO):
    """A file that becomes an object when it is closed, as on S3."""

    def __init__(self, objects, path):
        super().__init__()
        self._objects, self._path = objects, path

    def close(self):
        if not self.closed:
            self._objects[self._path] = self.getvalue()
        super().close()


class ObjectStore(AbstractFileSystem):
    """Objects by name. Folders exist if there are objects in them; nothing can be renamed."""

    protocol = "s3"
    cachable = False
    objects: ClassVar[dict[str, bytes]] = {}
    #: Names of which no object may contain a part: writing them fails.
    refused: ClassVar[set[str]] = set()

    def _open(self, path, mode="rb", **options):
        if mode == "rb":
            return io.BytesIO(self.info(path)["content"])
        assert mode == "wb", mode
        if any(part in path for part in self.refused):
            raise PermissionError(f"Access Denied: {path}\nRequest 17")
        return _Writer(self.objects, path)

    def info(self, path, **options):
        path = self._strip_protocol(path).rstrip("/")
        if path in self.objects:
            content = self.objects[path]
            return dict(name=path, size=len(content), type="file", content=content)
        if any(name.startswith(f"{path}/") for name in self.objects):
            return dict(name=path, size=0, type="directory")
        raise FileNotFoundError(path)

    def ls(self, path, detail=True, **options):
        path = self._strip_protocol(path).rstrip("/")
        if self.info(path)["type"] == "file":
            found = [path]
        else:
            rests = (n[len(path) + 1 :] for n in self.objects if n.startswith(f"{path}/"))
            found = sorted({f"{path}/{rest.split('/')[0]}" for rest in rests})
        return [self.info(name) for name in found] if detail else found

    def rm_file(self, path):
        self.objects.pop(self._strip_protocol(path), None)  # as on S3, also for a folder

    def rmdir(self, path):
        raise FileNotFoundError(path)

    def rename(self, *paths, **options):
        raise OSError(errno.EOPNOTSUPP, "objects cannot be renamed")

    mv = cp_file = makedirs = mkdir = rename


def install():
    """Let `s3://` be an empty store; return its objects by name."""
    from etils.epath import backend

    fsspec.register_implementation("s3", ObjectStore, clobber=True)
    backend.fsspec_backend._get_filesystem.cache_clear()
    ObjectStore.objects.clear()
    ObjectStore.refused.clear()
    return ObjectStore.objects
