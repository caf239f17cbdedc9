"""The page with every table and figure of the papers lists each of them once.

`test_documented_commands` runs the commands of the page.
"""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs/papers/index.md"
ROMAN = "I II III IV V VI VII VIII IX".split()


def numbered(chapter: int, stop: int) -> list[str]:
    return [f"{chapter}.{number}" for number in range(1, stop + 1)]


def digits(stop: int) -> list[str]:
    return [str(number) for number in range(1, stop + 1)]


#: Paper -> its tables and figures.
PAPERS = {
    "Han": (ROMAN[:5], digits(7)),
    "Vazonis": ([], digits(2)),
    "Goel": (ROMAN, digits(24)),
    "Seipel": (
        [*numbered(3, 6), *numbered(4, 2)],
        [*numbered(2, 13), *numbered(3, 2), *numbered(4, 6)],
    ),
    "Ligtenberg": (
        ["3.1", "4.1", "4.2"],
        [*numbered(2, 5), *numbered(3, 3), *numbered(4, 5), "A.1", "A.2"],
    ),
}


def rows() -> list[list[str]]:
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def expand(cell: str, order: list[str]) -> list[str]:
    """Return the numbers of a cell such as 'figures 9, 11 and 12' or 'tables II to V'."""
    numbers = re.split(r", | and ", cell.partition(" ")[2])
    expanded = []
    for number in numbers:
        first, _, last = number.partition(" to ")
        expanded += order[order.index(first) : order.index(last or first) + 1]
    return expanded


@pytest.mark.parametrize("paper", PAPERS)
@pytest.mark.parametrize("kind", ["table", "figure"])
def test_every_number_is_listed_once(paper, kind):
    expected = PAPERS[paper][kind == "figure"]
    listed = []
    for name, number, *_ in rows():
        if re.sub(r"\[(\w+)\].*", r"\1", name) == paper and number.startswith(kind):
            listed += expand(number, expected)
    assert sorted(listed) == sorted(expected)


def test_every_row_has_a_command_or_a_reason():
    for row in rows():
        assert len(row) == 4 and all(row), row
        assert re.search(r"`(irec|python) |drawing|figures? of|example|definition", row[3]), row
