"""Figures on the pages of the papers and of the results.

Published figures are those of `irec_jax.studies.published`, and measured ones stand in results.md.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from quoting import quote

import configs
from irec_jax.labels import IRMAS_NAMES
from irec_jax.studies.published import goel, han, ligtenberg, seipel, vazonis

DOCS = Path(__file__).parents[2] / "docs"
FIGURE = re.compile(r"(?<![\w.])[+-]?\d*\.\d+")
SIZES, NETS = (50, 100, 150), ("b1", "b2", "b3", "b4")


class Table(NamedTuple):
    caption: str
    header: list[str]
    rows: list[list[str]]


def read(page):
    """Return the tables of a page; the caption of a table is the bold paragraph before it."""
    tables, caption = [], ""
    for paragraph in (DOCS / page).read_text().split("\n\n"):
        lines = paragraph.strip().splitlines()
        if lines and lines[0].startswith("|"):
            cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
            tables.append(Table(caption, cells[0], cells[2:]))
            caption = ""
        elif paragraph.startswith("**"):
            caption = paragraph
    return tables


def cells(values, digits=3):
    return ["" if value is None else quote([value], digits) for value in values]


def decibels(scores):
    return [f"{value:.2f}" for score in scores for value in score]


def auc(row):
    """Return the three areas with their half widths, and both D scores."""
    areas = [quote(row[system], separator=" ± ") for system in ("base", "raw", "post")]
    return areas, [signed(row["d_raw"]), signed(row["d_post"])]


def signed(value):
    return f"{value:+.3f}".replace("0.", ".")


def by_net(accuracies):
    return [accuracies[net][2] for net in NETS]


def by_score(scores):
    return decibels(scores[name] for name in ("sdr", "sir", "sar"))


MICRO, MACRO_AUC = vazonis.MICRO, ligtenberg.MACRO_AUC
NAMES = {"voi": "voice", "cla": "clarinet", "gac": "acoustic guitar"}
#: Page -> rows of each table of published figures, in order.
REPORTED = {
    "papers/han.md": [[[setting, *cells(scores)] for setting, scores in han.SCORES.items()]],
    "papers/vazonis.md": [
        [[network, *cells(scores, 2)] for network, scores in MICRO.items()],
        [
            [f"{network}, {NAMES[name]}", *cells(scores, 2)]
            for network, by_class in (
                ("FFT and dense layers", vazonis.FFT_PER_CLASS),
                ("LSTM", vazonis.LSTM_PER_CLASS),
            )
            for name, scores in by_class.items()
        ],
        [[system, *cells([f1])] for system, f1 in vazonis.BOSCH.items()],
    ],
    "papers/goel.md": [
        [
            [f"{cell.upper()}, {chunk}", *cells(accuracies[chunk, size][2] for size in SIZES)]
            for cell, accuracies in goel.RECURRENT.items()
            for chunk in (300, 100)
        ],
        [
            ["RNN / LSTM / GRU / BLSTM with a dense layer", *cells(goel.DENSE.values())],
            ["B1 / B2 / B3 / B4, stacked waveforms", *cells(by_net(goel.IMAGES["stacked"]))],
            ["B1 / B2 / B3 / B4, recurrence plots", *cells(by_net(goel.IMAGES["recurrence"]))],
            ["CRNN with B1 / B2 / B3 / B4", *cells(by_net(goel.CRNN))],
        ],
    ],
    "papers/seipel.md": [
        [[name, *by_score(scores)] for name, scores in seipel.AVERAGES.items()],
        [[piece, *by_score(scores)] for piece, scores in seipel.PIECES.items()],
        [[piece, *cells(values)] for piece, values in seipel.CORRELATION.items()],
        [[piece, *decibels([values])] for piece, values in seipel.MIXTURE_SIR.items()],
        [
            [name.replace("_", " "), f"{row.hours:.2f}", str(row.num_tracks)]
            for name, row in {**seipel.INSTRUMENTS, "all": seipel.MIXES}.items()
        ],
    ],
    "papers/ligtenberg.md": [
        [
            [name, *decibels([scores.values()])]
            for name, scores in ligtenberg.AMPLITUDE_SDR_DB.items()
        ],
        [[IRMAS_NAMES[name], *sum(auc(row), [])] for name, row in ligtenberg.AUC.items()],
    ],
}
IMAGE_ROWS = {
    f"{net.upper()}, {name}": quote([goel.IMAGES[image][net][2]])
    for image, name in (("recurrence", "recurrence plots"), ("stacked", "stacked waveforms"))
    for net in NETS
}
RECURRENT_ROWS = {
    cell.upper(): quote([goel.RECURRENT[cell][300, 50][2]]) for cell in goel.RECURRENT
}
GAINS = {
    key: quote([after - before for before, after in zip(*(
        seipel.AVERAGES[name][key] for name in ("mixture", "reduced")
    ), strict=True)], 1)
    for key in ("sdr", "sir")
}  # fmt: skip
#: Page -> column -> row -> published figures.
REPORTED_COLUMNS = {
    "papers/goel.md": {
        "reported on IRMAS, at random": RECURRENT_ROWS
        | IMAGE_ROWS
        | {"CRNN with B3": quote([goel.CRNN["b3"][2]])},
    },
    "papers/ligtenberg.md": {
        "reported AUC": dict(zip(("base", "raw", "post"), auc(MACRO_AUC)[0], strict=True)),
        "reported D": dict(zip(("raw", "post"), auc(MACRO_AUC)[1], strict=True)),
    },
    "results.md": {
        "reported, on the data of the paper": {
            "Log-mel ConvNet": quote(han.SCORES["LReLU 0.33, S2 0.50"][i] for i in (2, 5)),
            "Raw-waveform LSTM": quote(MICRO["LSTM"][2:], 2),
            "FFT-dense network": quote(MICRO["FFT and dense layers"][2:], 2),
            "RNN / LSTM / GRU / BLSTM on chunks": " / ".join(RECURRENT_ROWS.values()),
            "CNNs B1 to B4 on recurrence plots": quote(by_net(goel.IMAGES["recurrence"])),
            "CRNN with B3": quote([goel.CRNN["b3"][2]]),
            "Spectrogram U-Net, removes drums and bass": "9.33",
            "Recogniser after separation, base / raw / post": quote(
                MACRO_AUC[system][0] for system in ("base", "raw", "post")
            ),
            "Crosstalk reduction at -6 / -12 / -18 dB": GAINS["sir"],
        },
        "reported on IRMAS, at random": RECURRENT_ROWS
        | {
            "B1 / B2 / B3 / B4, recurrence plots": quote(by_net(goel.IMAGES["recurrence"])),
            "B1 / B2 / B3 / B4, stacked waveforms": quote(by_net(goel.IMAGES["stacked"])),
            "CRNN with B3": quote([goel.CRNN["b3"][2]]),
        },
        "reported on IRMAS part 3": {
            "base, original clips": quote([MACRO_AUC["base"][0]]),
            "raw, separated": quote([MACRO_AUC["raw"][0]]),
            "post, postprocessed": quote([MACRO_AUC["post"][0]]),
        },
    },
}
#: Config -> its docstring from the measured figures on.
MEASURED = {
    file.stem: docstring.partition("Measured")[2].partition("Arguments:")[0]
    for file in Path(configs.__file__).parent.glob("*.py")
    if "Measured" in (docstring := ast.get_docstring(ast.parse(file.read_text())) or "")
}
PAGES = sorted(str(page.relative_to(DOCS)) for page in (DOCS / "papers").glob("*.md"))
PAPERS = [page for page in PAGES if page != "papers/index.md"]


def test_every_paper_page_is_compared():
    assert PAPERS == sorted(REPORTED)


@pytest.mark.parametrize("page", REPORTED)
def test_reported_tables_are_the_published_ones(page):
    reported = [table.rows for table in read(page) if table.caption.startswith("**Reported")]
    assert reported == REPORTED[page]


@pytest.mark.parametrize("page", REPORTED_COLUMNS)
def test_reported_columns_are_the_published_ones(page):
    columns = {}
    for table in read(page):
        for index, name in enumerate(table.header):
            if name.startswith("reported"):
                assert name not in columns, f"{name}: two columns"
                columns[name] = {row[0]: FIGURE.findall(row[index]) for row in table.rows}
    shown = {
        name: {plain(label): figures for label, figures in column.items() if figures}
        for name, column in columns.items()
    }
    expected = REPORTED_COLUMNS[page]
    assert shown == {
        name: {label: FIGURE.findall(text) for label, text in column.items()}
        for name, column in expected.items()
    }


def plain(text):
    """Return Markdown text without the targets of its links."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)


def test_seipel_on_the_results_page():
    (row,) = (row for table in read("results.md") for row in table.rows if "by Seipel" in row[0])
    sar = quote(seipel.AVERAGES["reduced"]["sar"], 1)
    assert row[1:] == [GAINS["sir"], GAINS["sdr"], sar, quote(seipel.CORRELATION["average"])]


@pytest.mark.parametrize("page", PAPERS)
def test_measured_figures_stand_on_the_results_page(page):
    results = set(FIGURE.findall((DOCS / "results.md").read_text()))
    measured = [table for table in read(page) if table.caption.startswith("**Measured")]
    assert measured
    for table in measured:
        skipped = [i for i, name in enumerate(table.header) if name.startswith("reported")]
        for row in table.rows:
            text = " ".join(cell for i, cell in enumerate(row[1:], 1) if i not in skipped)
            assert set(FIGURE.findall(text)) <= results, row


@pytest.mark.parametrize("config", MEASURED)
def test_measured_figures_of_configs_stand_on_the_results_page(config):
    # Scores such as .663, and pairs such as 10.60 (3.13).
    scores = re.findall(r"(?<![\w.])\.\d{3}\b|\d+\.\d\d(?= \()", MEASURED[config])
    assert scores
    assert set(scores) <= set(FIGURE.findall((DOCS / "results.md").read_text()))
