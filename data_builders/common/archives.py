"""Access to dataset files in folders and zips, and zip downloads.

Zips are read in place and never unpacked, so their members cannot overwrite files on disk.
"""

import contextlib
import fcntl
import hashlib
import io
import os
import re
import ssl
import stat
import unicodedata
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.error import HTTPError, URLError

from tqdm import tqdm

from irec_jax.errors import UserError
from irec_jax.progress import progress_bar

_CHUNK_BYTES = 1 << 20
_NUM_ATTEMPTS = 5
_TIMEOUT_S = 60.0


class File(NamedTuple):
    """A dataset file, in a folder or in a zip.

    Attributes:
        name: path within the folder or zip, with '/' as separator and in Unicode normal form C.
        origin: file name as shown in messages.
        fingerprint: size and, in a zip, CRC. Identical files have equal fingerprints, but equal
            fingerprints do not prove that files are identical.
        read: function that returns the content.
        path: path on disk; None for a file in a zip.
    """

    name: str
    origin: str
    fingerprint: tuple[int, ...]
    read: Callable[[], bytes]
    path: str | None = None

    @property
    def identity(self) -> tuple[int, int]:
        """Device and inode, equal for all links to a file and all spellings of its path."""
        status = os.stat(self.disk_path)
        return status.st_dev, status.st_ino

    @property
    def disk_path(self) -> str:
        """Path to the file on disk.

        Raises:
            ValueError: if the file is in a zip.
        """
        if self.path is None:
            raise ValueError(f"{self.origin}: is in a zip; expected a file on disk")
        return self.path

    def open(self) -> str | BinaryIO:
        """Return the path or, for a file in a zip, a seekable file object with its content."""
        if self.path is not None:
            return self.path
        file = io.BytesIO(self.read())
        file.name = self.origin
        return file


def files_in_folder(folder: str | os.PathLike) -> list[File]:
    """Return all files below a folder, sorted by name, except hidden ones and ``__MACOSX``.

    Symbolic links are followed unless they point to one of their own parent folders.

    Raises:
        UserError: if a folder cannot be read or a link is broken. `File.read` raises it for
            an unreadable file.
    """
    files = []

    def fail(error: OSError):
        raise UserError(f"{error.filename}: {error.strerror}; check the folder") from error

    seen = set()
    for parent, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        if (real := os.path.realpath(parent)) in seen:  # a cyclic link
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [
            name
            for name in folders
            if not _is_junk(name) and not _links_to_parent(os.path.join(parent, name))
        ]
        for name in names:
            if _is_junk(name):
                continue
            path = os.path.join(parent, name)
            files.append(file_at(path, os.path.relpath(path, folder)))
    return sorted(files, key=lambda file: file.name)


def subfolders(folder: str | os.PathLike) -> list[str]:
    """Return the sorted names of a folder's subfolders, except hidden ones and ``__MACOSX``.

    Symbolic links to one of their own parent folders are left out.

    Raises:
        UserError: if the folder cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.is_dir() and not _is_junk(entry.name) and not _links_to_parent(entry.path)
            )
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; check the folder") from error


def check_no_pattern(path: str | os.PathLike, expected: str) -> None:
    """Raise UserError if a path does not exist and contains `*`, `?` or `[`."""
    if not os.path.exists(path) and re.search(r"[*?[]", os.fspath(path)):
        raise UserError(f"{path}: is a shell pattern, not a path; pass the path of {expected}")


def _links_to_parent(path: str) -> bool:
    if not os.path.islink(path):
        return False
    target, folder = os.path.realpath(path), os.path.realpath(os.path.dirname(path))
    return os.path.commonpath([target, folder]) == target


def config_name(
    label: str, format: str, key: str, files: Iterable[tuple[tuple, File]], *, default: str
) -> str:
    """Return the config name ``<label>-<format>-<digest>`` for the current state of the files.

    Args:
        label: first part of the name; characters other than letters and digits become ``_``.
        format: data format; omitted from the name if empty.
        key: text to include in the digest.
        files: (description, file) pairs; the digest covers each description and each
            file's size and modification time.
        default: label to use if ``label`` contains no letters or digits.
    """
    digest = hashlib.sha256(key.encode(errors="surrogateescape"))
    for description, file in files:
        status = os.stat(file.disk_path)
        entry = (*description, status.st_size, status.st_mtime_ns)
        digest.update(repr(entry).encode())
    label = re.sub(r"\W+", "_", label, flags=re.ASCII).strip("_")[:32] or default
    return "-".join(filter(None, (label, format, digest.hexdigest()[:12])))


def file_at(path: str | os.PathLike, name: str) -> File:
    """Return the file at a path under the given name; raise UserError if it does not exist."""
    origin = printable_name(os.fspath(path))

    def read() -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UserError(f"{origin}: {error.strerror}; check the file") from error

    try:
        size = os.path.getsize(path)
    except OSError as error:
        raise UserError(f"{origin}: {error.strerror}; check the file") from error
    return File(printable_name(name.replace(os.sep, "/")), origin, (size,), read, os.fspath(path))


def files_in_zip(path: str | os.PathLike) -> list[File]:
    """Return all files in a zip, sorted by name, except hidden ones and ``__MACOSX``.

    Raises:
        UserError: if the file is not a zip, or if a member is a link or has a path outside the
            zip. `File.read` raises it for a damaged member.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: not a readable zip; download it again") from error
    files = []
    for member in archive.infolist():
        name = _member_name(member)
        _check_inside(path, name, member)
        if member.is_dir() or any(_is_junk(part) for part in name.split("/")):
            continue
        fingerprint = (member.file_size, member.CRC)
        origin = f"{os.fspath(path)}: {name}"
        files.append(File(name, origin, fingerprint, _ZipReader(origin, archive, member)))
    return sorted(files, key=lambda file: file.name)


class _ZipReader(NamedTuple):
    origin: str
    archive: zipfile.ZipFile
    member: zipfile.ZipInfo

    def __call__(self) -> bytes:
        try:
            return self.archive.read(self.member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
            raise UserError(f"{self.origin}: damaged ({error}); download the zip again") from error


def check_md5(path: str | os.PathLike, md5: str, *, remedy: str) -> None:
    """Check a file's MD5 sum, showing a progress bar if this takes more than a second.

    Raises:
        UserError: if the MD5 sum differs; the message ends with ``remedy``.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file, _bytes_bar("checking", path, os.path.getsize(path)) as bar:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            bar.update(len(chunk))
    if digest.hexdigest() != md5:
        raise UserError(f"{path}: wrong MD5 sum {digest.hexdigest()}, expected {md5}; {remedy}")


def fetch(url: str, path: str | os.PathLike, md5: str) -> Path:
    """Download a file over HTTP(S), resuming an interrupted download, and return its path.

    The file appears at the path only once it is complete and its MD5 sum has been verified. An
    existing file is kept. Several processes may call this at the same time.

    Raises:
        UserError: if the download fails or the MD5 sum is wrong.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with open(part, "ab") as file:
        with contextlib.suppress(OSError):  # a network file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            return path
        _download(url, file)
    try:
        check_md5(part, md5, remedy="the file was deleted, so start again, or download it by hand")
    except UserError:
        part.unlink()
        raise
    os.replace(part, path)
    return path


def manual_folder(dl_manager: Any) -> tuple[Path, bool]:
    """Return the folder of manually downloaded files, and whether the user set manual_dir."""
    default = Path(dl_manager.download_dir, "manual")
    try:
        manual = Path(dl_manager.manual_dir)
    except AssertionError:  # missing or empty
        manual = default
    return manual, manual != default


def find_or_fetch(
    dl_manager: Any, *, dataset: str, zip_name: str, url: str, md5: str, marker: str
) -> tuple[Path, list[File]]:
    """Return the path to a dataset's zip or unpacked folder, and the files in it.

    If neither exists and the user has not set manual_dir, the zip is downloaded.

    Args:
        dl_manager: TFDS's download manager.
        dataset: name of the dataset, also used for the download folder.
        zip_name: file name of the zip. The unpacked folder has this name without the suffix, or is
            manual_dir itself.
        url, md5: the zip's URL and MD5 sum.
        marker: subfolder whose presence identifies the unpacked dataset.

    Raises:
        UserError: if the user's manual_dir contains neither the zip nor the unpacked folder, the
            download fails, or the MD5 sum is wrong.
    """
    manual, is_given = manual_folder(dl_manager)
    path = manual / zip_name
    unpacked = (path.with_suffix(""), manual)
    folder = next((folder for folder in unpacked if (folder / marker).is_dir()), None)
    if path.is_file():
        check_md5(path, md5, remedy=f"download it again from {url}")
    elif folder is not None:
        return folder, files_in_folder(folder)
    elif is_given:
        raise UserError(
            f"{manual}: contains neither {zip_name} nor the {marker} folder; get the zip from "
            f"{url}, or leave manual_dir out to download it"
        )
    else:
        path = fetch(url, Path(dl_manager.download_dir, dataset, zip_name), md5)
    return path, files_in_zip(path)


def _download(url: str, file: BinaryIO) -> None:
    error: Any = None
    for _ in range(_NUM_ATTEMPTS):
        try:
            if _download_rest(url, file):
                return
            error = "the connection was closed early"
        except (URLError, HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as caught:
            error = getattr(caught, "reason", None) or caught
            if isinstance(caught, HTTPError) and caught.code < 500:
                break
        file.flush()
    raise UserError(
        f"{url}: {error}; start again to resume the download, or download the file by hand and "
        "set manual_dir to its folder"
    )


def _download_rest(url: str, file: BinaryIO) -> bool:
    """Append the missing bytes to a file and return whether it is complete."""
    start = file.seek(0, os.SEEK_END)
    headers = {"User-Agent": "irec-jax"} | ({"Range": f"bytes={start}-"} if start else {})
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except HTTPError as error:
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and start:
            return True  # complete or too long; the MD5 check will tell which
        raise
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            file.truncate(0)
            start = 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with _bytes_bar("downloading", url, total, delay=0) as bar:
            bar.update(start)
            while chunk := response.read(_CHUNK_BYTES):
                file.write(chunk)
                bar.update(len(chunk))
        return total is None or file.seek(0, os.SEEK_END) >= total


def _bytes_bar(verb: str, name: str | os.PathLike, total: int | None, delay: float = 1) -> tqdm:
    label = f"{verb} {os.path.basename(name)}"
    return progress_bar(desc=label, total=total, unit="B", unit_scale=True, delay=delay)


def _is_junk(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def printable_name(name: str) -> str:
    """Return a file name in Unicode normal form C, with undecodable bytes escaped."""
    return unicodedata.normalize("NFC", os.fsencode(name).decode("utf-8", "backslashreplace"))


def _member_name(member: zipfile.ZipInfo) -> str:
    name = member.filename
    if not member.flag_bits & 0x800:  # usually UTF-8, even if not declared as such
        with contextlib.suppress(UnicodeDecodeError, UnicodeEncodeError):
            name = name.encode("cp437").decode("utf-8")
    return unicodedata.normalize("NFC", name)


def _check_inside(path: str | os.PathLike, name: str, member: zipfile.ZipInfo) -> None:
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    absolute = name.startswith("/") or re.match(r"[A-Za-z]:", name)
    if absolute or "\\" in name or ".." in name.split("/") or is_link:
        raise UserError(
            f"{path}: member {name!r} is a link or has a path outside the zip; download the "
            "original again"
        )
