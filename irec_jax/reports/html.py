"""Conversion of Markdown pages to self-contained HTML files with embedded pictures."""

import base64
import html
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

#: Picture pixels per page pixel; values above 1 keep pictures sharp when they are enlarged.
PICTURE_SCALE = 1.5
_MARKDOWN = MarkdownIt("js-default")
_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
#: Script that closes an enlarged picture when the Escape key is pressed.
_SCRIPT = """addEventListener("keydown", (event) => {
  if (event.key === "Escape")
    document.querySelectorAll("input:checked").forEach((box) => { box.checked = false; });
});"""
#: Numbers with a standard deviation, interval or unit: '0.672 [0.651, 0.695]', '9.33 ± 4.29 dB'.
_NUMBER = r"[-+−]?\.?\d[\d.,]*"
_QUANTITY = re.compile(
    rf"{_NUMBER}(?: [±/] {_NUMBER})*(?: \[{_NUMBER}, {_NUMBER}\])?"
    r"(?: (?:%|dB|Hz|kHz|ms|s|min|h|GB|MB)(?!\w))?"
)


def to_html(page: str, *, pictures: Mapping[str, bytes]) -> str:
    """Convert a Markdown page to an HTML document.

    The first heading becomes the document title. The paragraph above a table becomes its
    caption; all caption lines after the first are set in small print. A picture that is the
    only content of a paragraph becomes a figure with a caption, and a click enlarges it.

    Args:
        page: Markdown with GitHub-style tables; any HTML in it is escaped.
        pictures: PNG files to embed, by file name; other pictures are linked.
    """
    tokens = _MARKDOWN.parse(page)
    title = next((_plain_text(token) for token in tokens if token.type == "inline"), "")
    return document_start(title) + body(page, pictures=pictures) + document_end()


def document_start(title: str, style: str = "") -> str:
    """Return the start of an HTML document; ``style`` is added to the common style sheet."""
    return (
        '<!DOCTYPE html>\n<html lang="en-GB">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{_STYLE}{style}</style>\n</head>\n<body>\n"
    )


def document_end(script: str = "") -> str:
    """Return the end of an HTML document; ``script`` is added to the common script."""
    return f"<script>\n{_SCRIPT}\n{script}</script>\n</body>\n</html>\n"


def body(page: str, *, pictures: Mapping[str, bytes] | None = None) -> str:
    """Convert Markdown to HTML without the start and end of a document; see `to_html`."""
    tokens = _MARKDOWN.parse(page)
    for token in (child for block in tokens for child in block.children or ()):
        if token.type == "text":
            token.content = _QUANTITY.sub(_keep_together, token.content)
        elif token.type == "code_inline":
            options = re.sub(
                r"(?<!\S)--?[a-z]\S*", r"<span>\g<0></span>", html.escape(token.content)
            )
            token.type, token.content = "html_inline", f"<code>{options}</code>"
    tokens = list(_figures(_tables(tokens), pictures or {}))
    return _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})


def _plain_text(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def _keep_together(match: re.Match) -> str:
    """Return the matched text with non-breaking spaces."""
    return match[0].replace(" ", "\u00a0")


def _html(content: str) -> Token:
    return Token("html_block", "", 0, content=content)


def _tables(tokens: Sequence[Token]) -> list[Token]:
    """Wrap each table in a figure, with the paragraph above it as the caption."""
    framed: list[Token] = []
    for token in tokens:
        if token.type == "table_open":
            caption = []
            if framed and framed[-1].type == "paragraph_close":
                caption, framed = framed[-3:], framed[:-3]
                caption[0].tag = caption[2].tag = "figcaption"
                caption[1].children = list(_small_print(caption[1].children or ()))
            framed += [_html('<figure class="table">\n'), *caption]
            framed += [_html('<div class="scroll" tabindex="0">\n'), token]
        elif token.type == "table_close":
            framed += [token, _html("</div>\n</figure>\n")]
        else:
            framed.append(token)
    return framed


def _small_print(children: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens of a caption, with all lines after the first in small print."""
    breaks = [i for i, token in enumerate(children, 1) if token.type == "softbreak"]
    if not breaks:
        yield from children
        return
    yield from children[: breaks[0]]
    yield Token("small_open", "small", 1)
    yield from children[breaks[0] :]
    yield Token("small_close", "small", -1)


def _figures(tokens: Sequence[Token], pictures: Mapping[str, bytes]) -> Iterator[Token]:
    """Yield the tokens, with paragraphs that consist of an embedded picture replaced by figures."""
    remaining = iter(tokens)
    for token in remaining:
        if token.type != "paragraph_open":
            yield token
            continue
        content, end = next(remaining), next(remaining)
        children = content.children or []
        name = str(children[0].attrs.get("src")) if len(children) == 1 else ""
        if name in pictures:
            yield _html(_figure(_plain_text(children[0]), pictures[name]))
        else:
            yield from (token, content, end)


def _figure(caption: str, png: bytes) -> str:
    """Return a figure with a checkbox, so that a click enlarges the picture without a script."""
    caption, encoded = html.escape(caption), base64.b64encode(png).decode()
    width, height = struct.unpack(">II", png[16:24])
    size = f"--width: {width / PICTURE_SCALE:g}px; --ratio: {width / height:.4f}"
    return (
        '<figure>\n<label><input type="checkbox" autocomplete="off" aria-label="Enlarge">'
        f'<span class="view"><img src="data:image/png;base64,{encoded}" alt="{caption}" '
        f'style="{size}"></span></label>\n<figcaption>{caption}</figcaption>\n</figure>\n'
    )
