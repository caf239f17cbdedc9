"""The HTML page of `irec recognize`, rewritten as files are processed."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from irec_jax.cli.output import RewrittenFile
from irec_jax.files import atomic_write, temporary_file_error
from irec_jax.reports import provenance
from irec_jax.reports.preview import Preview, num_uri_bytes, read_preview
from irec_jax.reports.recognized_page import RecognizedPage, System
from irec_jax.text import printable

#: Firefox opens `data:` URIs of up to 32 MB, which hold 50 minutes of audio.
_MAX_URI_BYTES = 32e6
_MAX_PAGE_BYTES = 200e6


class PageFile(RewrittenFile):
    """A page with one section per file; see `RewrittenFile` and `RecognizedPage`.

    Sections are kept in a temporary file until the end.

    Args:
        path: a new or empty file.
        files: all input files.
        systems: the recognisers that are applied to the files.
        threshold: name or value of the threshold, as given on the command line.
        audio: 'embed', 'link' or 'none'.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        systems: Sequence[System],
        threshold: str,
        audio: str,
    ):
        super().__init__()
        self._path, self._audio = path, audio
        self._remarks: list[str] = []
        self._page = RecognizedPage(path, files, systems, threshold, provenance.environment())
        self._sections, self._num_bytes = tempfile.TemporaryFile(), 0  # noqa: SIM115

    def __exit__(self, *error) -> None:
        with self._sections:
            super().__exit__(*error)

    def preview(self, file: Path, result: Any) -> Preview:
        """Return the waveform of a file, and its audio if it is to be embedded.

        Raises:
            UserError: see `read_preview`.
        """
        num_bytes = num_uri_bytes(result.duration_s)
        embed, link = self._audio == "embed", f"{printable(self._path)}: links to the audio of"
        if embed and self._num_bytes + num_bytes > _MAX_PAGE_BYTES:
            embed, self._audio = False, "link"
            self._remarks.append(
                f"{link} {printable(file)} and later files, because it would otherwise exceed "
                f"{_MAX_PAGE_BYTES / 1e6:.0f} MB"
            )
        elif embed and num_bytes > _MAX_URI_BYTES:
            embed = False
            self._remarks.append(f"{link} {printable(file)}, which is too long to embed")
        return read_preview(file, result.duration_s, with_audio=embed)

    def take_remarks(self) -> list[str]:
        """Return the new remarks about audio that is linked because it is too long to embed."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def add(self, file: Path, result: Any | None, preview: Preview | None, error: str) -> None:
        """Add the section for the next file; see `RecognizedPage.section`.

        Raises:
            UserError: if the page or the temporary file cannot be written.
        """
        link = self._audio != "none"  # for audio that is not embedded
        try:
            self._sections.seek(self._num_bytes)  # an interrupt may have left part of a section
            for part in self._page.section(file, result, preview, link=link, error=error):
                self._sections.write(part.encode())
            self._num_bytes = self._sections.tell()
        except OSError as cause:
            raise temporary_file_error(cause) from cause
        self._update()

    def _write(self) -> None:
        self._sections.truncate(self._num_bytes)
        self._sections.seek(0)
        with atomic_write(self._path) as temporary, open(temporary, "wb") as file:
            file.write(self._page.start().encode())
            shutil.copyfileobj(self._sections, file)
            file.write(self._page.end().encode())
