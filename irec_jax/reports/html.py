"""A report's page as one HTML file, its figures within, that opens in any browser.

It knows what the pages of this project are written in: headings, paragraphs, lists, quotes, tables,
figures, **bold**, *italic* and `code`.
"""

import base64
import html
import re
from collections.abc import Mapping

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: .25em .7em; border-bottom: 1px solid #d9d9d9; text-align: right; }
th.text, td.text { text-align: left; }
blockquote { margin: 1em 0; padding: .6em 1em; background: #fdf0e6;
  border-left: 4px solid #d55e00; }
img { max-width: 100%; }
code { background: #f2f2f2; padding: .1em .3em; }
"""


def to_html(page: str, *, title: str, pictures: Mapping[str, bytes]) -> str:
    """The page as HTML.

    Args:
        page: Markdown as `page.markdown` and `separation_report.markdown` write it: blocks with an
            empty line between them.
        title: of the window.
        pictures: file name of each figure of the page to its PNG; one that is not here stays a
            link.
    """
    blocks = [_block(block, pictures) for block in page.strip().split("\n\n") if block.strip()]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(blocks)
        + "\n</body>\n</html>\n"
    )


def _block(block: str, pictures: Mapping[str, bytes]) -> str:
    lines = block.split("\n")
    if heading := re.fullmatch(r"(#{1,6}) (.*)", block):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    if figure := re.fullmatch(r"!\[(.*)\]\((.*)\)", block):
        caption, name = figure.groups()
        source = html.escape(name)
        if name in pictures:
            source = "data:image/png;base64," + base64.b64encode(pictures[name]).decode()
        return f'<p><img src="{source}" alt="{html.escape(caption)}"></p>'
    if all(line.startswith("|") for line in lines) and len(lines) > 1:
        return _table(lines)
    if all(line.startswith("- ") for line in lines):
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    if all(line.startswith(">") for line in lines):
        return f"<blockquote>{_inline(' '.join(line[1:].strip() for line in lines))}</blockquote>"
    return f"<p>{_inline(block)}</p>"


def _table(lines: list[str]) -> str:
    # A bar after a backslash belongs to its cell.
    rows = [
        [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
    ]
    numeric = [cell.endswith(":") for cell in rows[1]]

    def row(cells: list[str], tag: str) -> str:
        kinds = ["" if right else ' class="text"' for right in numeric]
        found = [
            f"<{tag}{kind}>{_inline(cell)}</{tag}>" for cell, kind in zip(cells, kinds, strict=True)
        ]
        return f"<tr>{''.join(found)}</tr>"

    head = f"<thead>{row(rows[0], 'th')}</thead>" if any(rows[0]) else ""
    body = "\n".join(row(cells, "td") for cells in rows[2:])
    return f"<table>{head}<tbody>\n{body}\n</tbody></table>"


def _inline(text: str) -> str:
    """Bold, italic and code; what stands in code is taken as it is."""
    parts = re.split(r"`([^`]*)`", text)
    for i, part in enumerate(parts):
        part = html.escape(part, quote=False)
        if i % 2:
            parts[i] = f"<code>{part}</code>"
            continue
        part = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", part)
        parts[i] = re.sub(r"(?<!\*)\*([^*\s][^*]*)\*", r"<em>\1</em>", part)
    return "".join(parts)
