"""HTML page that shows the instruments recognised in audio files, with players and timelines."""

import base64
import dataclasses
import html
import os
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from irec_jax.files import unique_names
from irec_jax.inference import segments
from irec_jax.reports.html import body, document_end, document_start
from irec_jax.reports.page import CLIP_SCORES, data_name, provenance_table
from irec_jax.reports.preview import Preview
from irec_jax.reports.recognized_timeline import timeline
from irec_jax.reports.tables import captioned_table, escape
from irec_jax.text import class_names, clock, printable, to_unicode

_FOLDER = Path(__file__).parent
_STYLE = (_FOLDER / "recognized_page.css").read_text(encoding="utf-8")
_SCRIPT = (_FOLDER / "recognized_page.js").read_text(encoding="utf-8")


@dataclasses.dataclass(frozen=True)
class System:
    """System that recognised the instruments.

    Attributes:
        name: name of the config.
        dataset: `name`, `version`, `config` and `rendered` of the training data; may be empty.
        workdir: folder of the system, as typed by the user or as packaged with irec-jax.
        aggregation: name of the clip score.
    """

    name: str
    dataset: Mapping[str, Any]
    workdir: str
    aggregation: str


class RecognizedPage:
    """Page with a section for each file; it is rewritten after each file is processed.

    The page consists of `start()`, the `section` of each processed file, and `end()`. The start
    states how many files are already on the page.

    Args:
        path: path to the page; links to files are relative to its folder.
        files: all input files.
        systems: recognisers that are applied to the files.
        threshold: name or value of the threshold, as typed.
        provenance: result of `provenance.environment`.
    """

    def __init__(
        self,
        path: Path,
        files: Sequence[Path],
        systems: Sequence[System],
        threshold: str,
        provenance: Mapping[str, Any],
    ):
        self._folder, self._files = path.parent, files
        self._systems, self._threshold, self._provenance = systems, threshold, provenance
        self._download_names = unique_names([printable(file.stem) for file in files])
        self._rows: list[list[str]] = []
        self._num_failed = 0

    def start(self) -> str:
        """Return the start of the document: title, warnings, and a table of the processed files."""
        title = f"Instruments in {len(self._files)} files"
        if len(self._files) == 1:
            title = f"Instruments in {printable(self._files[0].name)}"
        parts = [
            f"# {escape(title)}",
            *_training_data(self._systems),
            *self._progress(),
            self._description(),
        ]
        if self._rows and (len(self._files) > 1 or self._num_failed):
            num_columns = 4 if any(remark for *_, remark in self._rows) else 3
            header = ["file", "length", "instruments", "remark"][:num_columns]
            rows = [row[:num_columns] for row in self._rows]
            parts += [captioned_table("Files on this page.", header, rows, num_columns)]
        return document_start(title, _STYLE) + body("\n\n".join(parts))

    def section(
        self, file: Path, result: Any | None, preview: Preview | None, *, link: bool, error: str
    ) -> Iterator[str]:
        """Yield the next file's section in parts.

        The table in `start` lists the file only after the last part has been yielded.

        Args:
            file: path to the file.
            result: the `irec_jax.systems.recognized.Recognized` of the file; None if recognition
                failed.
            preview: waveform envelope, and the audio to embed, if any; None for neither.
            link: whether to play the original file if no audio is embedded.
            error: reason why the file or one of its outputs failed; empty if nothing failed.
        """
        number, name, labels = len(self._rows) + 1, printable(file), "–"
        note = result.note if result else ""
        link_to_section, length = escape(name), "–"
        if result:
            yield from self._recognized(number, file, result, preview, link, [note, error])
            link_to_section = f"[{escape(name)}](#file-{number})"
            length, labels = clock(result.duration_s), escape(_labels(result))
        remarks = [escape(note)] if note else []
        if error:
            remarks.append(f"**failed:** {escape(to_unicode(error))}")
            self._num_failed += 1
        self._rows.append([link_to_section, length, labels, "; ".join(remarks)])

    def end(self) -> str:
        """Return the end of the document: the provenance and the script."""
        names = [f"{system.name} in {system.workdir}" for system in self._systems]
        datasets = dict.fromkeys(_describe_dataset(system.dataset) for system in self._systems)
        settings = {
            "system": escape("; ".join(names)),
            "trained on": escape("; ".join(datasets)),
            "threshold": escape(self._threshold),
        }
        provenance = ["## Provenance", provenance_table(self._provenance, settings)]
        return body("\n\n".join(provenance)) + document_end(_SCRIPT)

    def _progress(self) -> list[str]:
        """Return a line that states the progress; empty for a single file after processing."""
        done, total = len(self._rows), len(self._files)
        failed = f", {self._num_failed} failed" if self._num_failed else ""
        if done < total:
            return [
                f"**{done} of {total} files**{failed}. The page is updated while `irec recognize` "
                "runs; reload it to see more files."
            ]
        return [f"**{total} files**{failed}."] if total > 1 else []

    def _description(self) -> str:
        systems = " and ".join(
            f"{escape(system.name)}, trained on {escape(_describe_dataset(system.dataset))},"
            for system in self._systems
        )
        return (
            f"Recognised by {systems} on {self._provenance['date'][:10]}. An instrument is "
            "recognised if its score for the whole file reaches its threshold. In the timelines, "
            "opacity shows the activity, and a bar marks activity at or above the threshold."
        )

    def _recognized(
        self,
        number: int,
        file: Path,
        result: Any,
        preview: Preview | None,
        link: bool,
        remarks: Sequence[str],
    ) -> Iterator[str]:
        name = printable(file)
        mp3 = preview.mp3 if preview else None
        source = _relative_address(file, self._folder) if link and mp3 is None else ""
        yield f'<section id="file-{number}" aria-labelledby="name-{number}">\n'
        yield f'<h2 id="name-{number}">{html.escape(name)}</h2>\n'
        yield f'<p class="labels">{_labels_html(result)}</p>\n'
        for text in filter(None, remarks):
            yield f'<p class="remark">{html.escape(to_unicode(text))}</p>\n'
        address = source if mp3 is None else _data_uri("audio/mpeg", mp3)
        if address:
            yield (
                f'<audio controls preload="metadata" aria-label="{html.escape(name)}" '
                f'src="{address}"></audio>\n'
            )
        yield timeline(result, preview.envelope if preview else None)
        yield self._downloads(number, result, source)
        yield f"<details{' open' if len(self._files) == 1 else ''}>\n<summary>Scores</summary>\n"
        yield body(self._score_table(result)) + "</details>\n</section>\n"

    def _downloads(self, number: int, result: Any, source: str) -> str:
        stem, found = self._download_names[number - 1], result.segments
        links = [
            _download(
                "Segments as CSV",
                f"{stem}-segments.csv",
                "text/csv",
                segments.to_csv(found, name="instrument", systems=result.systems),
            ),
            _download(
                "Labels for Audacity",
                f"{stem}-labels.txt",
                "text/plain",
                segments.to_audacity(found),
            ),
        ]
        if source:
            links.append(f'<a href="{source}">Audio file</a>')
        return f'<p class="downloads">{" ".join(links)}</p>\n'

    def _score_table(self, result: Any) -> str:
        active_s = dict.fromkeys(result.scores, 0.0)
        for name, start_s, end_s in result.segments:
            active_s[name] += end_s - start_s
        ranked = sorted(result.scores, key=result.scores.get, reverse=True)
        rows = []
        for name, text in zip(ranked, map(escape, class_names(ranked)), strict=True):
            recognised = name in result.labels
            rows.append([
                f"**{text}**" if recognised else text,
                "yes" if recognised else "no",
                f"{result.scores[name]:.3f}",
                f"{result.thresholds[name]:.3f}",
                f"{active_s[name] / max(result.duration_s, 1e-9):.0%}",
            ])  # fmt: skip
        header = ["instrument", "recognised", "score", "threshold", "active"]
        aggregations = dict.fromkeys(system.aggregation for system in self._systems)
        shown = "; ".join(": ".join(CLIP_SCORES[name]) for name in aggregations)
        caption = (
            f"Score for the whole file ({shown}), and the share of the time for which the "
            "instrument is active."
        )
        return captioned_table(caption, header, rows, 2)


def _describe_dataset(dataset: Mapping[str, Any]) -> str:
    if not dataset:
        return "unknown data"
    kind = "rendered music" if dataset.get("rendered") else "recordings"
    known = {key: dataset.get(key, "–") for key in ("name", "version", "config")}
    return f"{data_name(known)} ({kind})"


def _training_data(systems: Sequence[System]) -> list[str]:
    """Return a warning if a system was trained on rendered music; empty otherwise."""
    if not any(system.dataset.get("rendered") for system in systems):
        return []
    return ["> **Trained on rendered music: expect errors on recordings.**"]


def _labels(result: Any) -> str:
    """Return the recognised instruments, with the highest score first."""
    ranked = sorted(result.labels, key=result.scores.get, reverse=True)
    return ", ".join(class_names(ranked)) or "none"


def _labels_html(result: Any) -> str:
    ranked = sorted(result.labels, key=result.scores.get, reverse=True)
    labels = ", ".join(
        f"<strong>{html.escape(text)}</strong> {result.scores[name]:.2f}"
        for name, text in zip(ranked, class_names(ranked), strict=True)
    )
    return f"{clock(result.duration_s)} · {labels or 'no instrument recognised'}"


def _download(text: str, name: str, media_type: str, content: str) -> str:
    address = _data_uri(f"{media_type};charset=utf-8", to_unicode(content).encode())
    return f'<a download="{html.escape(name)}" href="{address}">{text}</a>'


def _data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _relative_address(file: Path, folder: Path) -> str:
    """Return the address of a file relative to a folder, percent-encoded."""
    path = os.path.relpath(os.path.realpath(file), os.path.realpath(folder))
    return urllib.parse.quote(os.fsencode(path))
