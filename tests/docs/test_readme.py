"""README.md: its length, its links, and its figures, which are those of docs/results.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
FIGURE = re.compile(r"(?<![\w.])\d*\.\d+")


def test_length():
    """The README fits on a few screens; everything else is on the pages of docs/."""
    assert len(README.splitlines()) <= 130


def test_links_lead_to_files():
    """Pages and pictures that the README links exist."""
    links = re.findall(r"\]\(([^)#]+)", README)
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_scores_are_those_of_the_results():
    """Every score of the README is on the page of the results."""
    rows = [line for line in README.splitlines() if line.startswith("|")]
    scores = {figure for row in rows for figure in FIGURE.findall(row)}
    assert len(scores) > 20
    assert scores - set(FIGURE.findall((ROOT / "docs/results.md").read_text())) == set()
