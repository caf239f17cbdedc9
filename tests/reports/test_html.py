"""Markdown pages as HTML: blocks, captions, pictures, escaping, and the check of reports itself."""

import io

import matplotlib.image
import numpy as np
import pytest
import report_pages

from irec_jax.reports.html import to_html
from irec_jax.reports.tables import captioned_table, escape


def _png(width, height):
    buffer = io.BytesIO()
    matplotlib.image.imsave(buffer, np.zeros((height, width, 3)), format="png")
    return buffer.getvalue()


PICTURES = {"f.png": _png(600, 400)}
TABLE = captioned_table("Scores.\nData: d 1. Command: `c`", ["a", "F1 [95 %]"], [["x", "1"]])
REPORT = [
    "# System on data",
    "> **rendered**",
    "**F1 0.500 [0.400, 0.600]** on 3 ± 1 clips.",
    "![Bars](f.png)",
    "## Scores",
    TABLE,
    "## Provenance",
    captioned_table("How this report was made.", ["", ""], [["seed", "0"]], 2),
]


def test_markdown_blocks_are_converted():
    blocks = ["# A <b> & *c*", "> **x**\n> y", "| a | b |\n| --- | ---: |\n| p\\|q | 1 |"]
    blocks += ["- one\n- `*two*`", "see ![cap](g.png)"]
    page = to_html("\n\n".join(blocks), pictures=PICTURES)
    for part in (
        "<h1>A &lt;b&gt; &amp; <em>c</em></h1>",
        "<blockquote>\n<p><strong>x</strong>\ny</p>\n</blockquote>",
        "<ul>\n<li>one</li>\n<li><code>*two*</code></li>\n</ul>",
        '<tr>\n<td>p|q</td>\n<td style="text-align:right">1</td>\n</tr>',
        '<p>see <img src="g.png" alt="cap"></p>',
    ):
        assert part in page


def test_paragraph_above_a_table_becomes_its_caption():
    page = to_html(f"Text.\n\n{TABLE}\n\nMore.", pictures={})
    caption = "<figcaption>Scores.\n<small>Data: d 1. Command: <code>c</code></small></figcaption>"
    assert f'<p>Text.</p>\n<figure class="table">\n{caption}\n<div class="scroll"' in page
    assert page.count("<table>") == page.count("</table>\n</div>\n</figure>\n<p>More.</p>") == 1


def test_picture_keeps_its_size_on_the_page_and_its_caption():
    page = to_html("![a < b](f.png)\n\n![c](f.png)", pictures=PICTURES)
    assert page.count('style="--width: 400px; --ratio: 1.5000"') == 2  # 1.5 pixels per pixel
    assert 'alt="a &lt; b"' in page and "<figcaption>a &lt; b</figcaption>" in page


@pytest.mark.parametrize(
    "text",
    [
        "0.672 [0.651, 0.695]",
        "+0.020 [-0.048, +0.098]",
        "9.33 ± 4.29 dB",
        "-6 / -12 / -18 dB",
        "27.1 / 22.9 / .17",
        "95 %",
        "44100 Hz",
    ],
)
def test_numbers_stay_together(text):
    page = to_html(f"It is {text}, or **{text}** here `{text}`.", pictures={})
    joined = text.replace(" ", "\u00a0")
    assert f"It is {joined}, or <strong>{joined}</strong> here <code>{text}</code>." in page


def test_options_of_commands_stay_together():
    page = to_html("`irec debleed 'a <b>' --out x-y -j`", pictures={})
    options = "<span>--out</span> x-y <span>-j</span>"
    assert f"<code>irec debleed &#x27;a &lt;b&gt;&#x27; {options}</code>" in page


def test_words_beside_numbers_may_move_to_the_next_line():
    text = "3 songs, 2 sessions, 1 [note] and 4 m; table 3.3 to 3.6 in 2017 (5 runs)"
    assert f"<p>{text}</p>" in to_html(text, pictures={})


@pytest.mark.parametrize(
    "name",
    [
        "a*b*c",
        "_x_",
        "a_b_c",
        "__init__",
        "`q`",
        "[1](u)",
        "<b>&amp;",
        "a\\*b",
        "p|q",
        "1 ![x](y)",
    ],
)
def test_names_from_outside_are_shown_as_they_are(name):
    table = captioned_table(escape(name), ["x", "y"], [[escape(name), "1"]])
    text = f"# {escape(name)}\n\n![{escape(name)}](f.png)\n\n{table}"
    page = report_pages.Page(to_html(text, pictures=PICTURES))
    assert page.texts("h1", "figcaption", "td") == [name, name, name, name, "1"]
    assert page.title == name and len(page.links) == 1
    assert escape("kick_in 2") == "kick_in 2"


def test_structure_of_a_report():
    page = report_pages.check(to_html("\n\n".join(REPORT), pictures=PICTURES), num_pictures=1)
    assert page.title == "System on data" and page.texts("warning") == ["rendered"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (TABLE, TABLE.partition("\n\n")[2]),  # no caption
        ("Command: ", ""),
        (REPORT[2], TABLE),  # details before the headline
        (REPORT[3], ""),
        (REPORT[6], "## Details"),
        ("## Provenance", "## Provenance\n\n" + TABLE),
        ("(f.png)", "(https://example.org/f.png)"),
        ("3 ± 1", "`3 ± 1`"),
    ],
)
def test_check_of_the_structure_finds_mistakes(old, new):
    text = "\n\n".join(REPORT)
    assert old in text
    with pytest.raises((AssertionError, ValueError)):
        report_pages.check(to_html(text.replace(old, new), pictures=PICTURES), num_pictures=1)
