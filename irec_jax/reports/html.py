"""Markdown pages as single HTML files with embedded pictures, readable in any browser."""

import base64
import html
from collections.abc import Mapping

from markdown_it import MarkdownIt

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; display: block;
  overflow-x: auto; }
th, td { padding: .25em .7em; border-bottom: 1px solid #d9d9d9; text-align: left; }
th:empty { padding: 0; }
blockquote { margin: 1em 0; padding: .6em 1em; background: #fdf0e6;
  border-left: 4px solid #d55e00; }
blockquote p { margin: 0; }
img { max-width: 100%; }
code { background: #f2f2f2; padding: .1em .3em; }
"""


def to_html(page: str, *, title: str, pictures: Mapping[str, bytes]) -> str:
    """Return a Markdown page as HTML.

    Args:
        page: Markdown with the tables of GitHub; HTML in it is escaped.
        title: title of the browser window.
        pictures: file name to PNG, to be embedded as a data URI; other pictures remain links.
    """
    markdown = MarkdownIt("js-default")
    tokens = markdown.parse(page)
    for token in (child for block in tokens for child in block.children or ()):
        if token.type == "image" and (name := str(token.attrs["src"])) in pictures:
            encoded = base64.b64encode(pictures[name]).decode()
            token.attrs["src"] = f"data:image/png;base64,{encoded}"
    body = markdown.renderer.render(tokens, markdown.options, {})
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f"{body}</body>\n</html>\n"
    )
