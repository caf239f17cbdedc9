"""Published results, and the docstrings of configs that quote them."""

import ast
import re
from pathlib import Path

import pytest
from quoting import quote

import configs
from data_builders.gm_multitrack.plan import SEIPEL_PIECES
from irec_jax.labels import ORCHESTRA
from irec_jax.studies import published
from irec_jax.studies.published import goel, han, ligtenberg, seipel, vazonis

SIZES, NETS = (50, 100, 150), ("b1", "b2", "b3", "b4")


def docstring(config):
    """Return the docstring of a config as one line."""
    file = Path(configs.__file__).parent / f"{config}.py"
    return re.sub(r"\s+", " ", ast.get_docstring(ast.parse(file.read_text())))


def f1(setting):
    return quote(han.SCORES[setting][index] for index in (2, 5))


def by_size(cell, chunk):
    return quote(goel.RECURRENT[cell][chunk, size][2] for size in SIZES)


def by_net(accuracies):
    return quote(accuracies[net][2] for net in NETS)


def auc(system):
    return quote(ligtenberg.MACRO_AUC[system], separator=" +- ")


def sdr(system):
    return "{mean:.2f} ({sd:.2f}) dB".format(**ligtenberg.AMPLITUDE_SDR_DB[system])


#: Config -> (words, published figures that follow them in its docstring).
QUOTED = {
    "han": [
        ("training.repeats=3", f1("LReLU 0.33, S2 0.50")),
        ("activation=tanh", f1("tanh, S2 0.50")),
        ("activation=relu", f1("ReLU, S2 0.50")),
        ("activation=prelu", f1("PReLU, S2 0.50")),
        ("activation=lrelu_0.01", f1("LReLU 0.01, S2 0.50")),
        ("aggregation=s1 (threshold 0.16)", f1("LReLU 0.33, S1 0.16")),
    ],
    "goel_rnn": [
        *((f"cell={cell}", by_size(cell, 300)) for cell in goel.RECURRENT),
        *((f"x_len=100: {'.*' * (cell != 'rnn')}{cell}", by_size(cell, 100))
          for cell in goel.RECURRENT),
        *((f"dense=50 .*{cell}", quote([accuracy])) for cell, accuracy in goel.DENSE.items()),
    ],
    "goel_cnn": [
        ("image=stacked", by_net(goel.IMAGES["stacked"])),
        ("image=recurrence", by_net(goel.IMAGES["recurrence"])),
    ],
    "goel_crnn": [("goel_crnn.py:", by_net(goel.CRNN))],
    "vazonis_lstm": [("vazonis_lstm.py:", quote(vazonis.MICRO["LSTM"], 2))],
    "vazonis_fft": [
        ("vazonis_fft.py:", quote(vazonis.MICRO["FFT and dense layers"], 2)),
        ("F1", quote([vazonis.MICRO["FFT and dense layers, 75 epochs"][2]], 2)),
        ("voice", quote(vazonis.FFT_PER_CLASS["voi"], 2)),
        ("clarinet", quote(vazonis.FFT_PER_CLASS["cla"], 2)),
    ],
    "ligtenberg_cnn": [(system, auc(system)) for system in ("base", "raw", "post")],
    "ligtenberg_unet": [(system, sdr(system)) for system in ("raw", "post")],
}  # fmt: skip


@pytest.mark.parametrize("config", QUOTED)
def test_configs_quote_the_published_figures(config):
    text = docstring(config)
    for words, figures in QUOTED[config]:
        # A '/' between them would mean that the figures belong to another row.
        pattern = words.replace("(", r"\(").replace(")", r"\)") + r"[^/]*?" + re.escape(figures)
        assert re.search(pattern, text), f"{words}: expected {figures}"


@pytest.mark.parametrize("config", QUOTED)
def test_configs_quote_no_other_figures(config):
    text = docstring(config)
    reported = text[text.index("Reported") :].partition("easured")[0].partition("Arguments:")[0]
    known = re.findall(r"\d*\.\d+", " ".join(figures for _, figures in QUOTED[config]))
    quoted = re.findall(r"(?<![\w.])\.\d+|\d\.\d+ \(\d\.\d+\) dB", reported)
    for figure in quoted:
        assert set(re.findall(r"\d*\.\d+", figure)) <= set(known), figure
    assert quoted


def test_every_config_that_quotes_figures_is_tested():
    for file in Path(configs.__file__).parent.glob("*.py"):
        if "Reported" in (ast.get_docstring(ast.parse(file.read_text())) or ""):
            assert file.stem in QUOTED


def test_results_of_configs_match_the_papers():
    rows = published.RESULTS["han"]["rows"]
    assert [row["micro_f1"] for row in rows] == [0.499, 0.591, 0.588, 0.593, 0.602, 0.595]
    assert rows[4]["macro_f1"] == 0.503 and rows[4]["setting"] == "LReLU 0.33, S2 0.50"
    (lstm,) = published.RESULTS["vazonis_lstm"]["rows"]
    assert list(lstm.values()) == ["LSTM, threshold 0.5", 0.25, 0.75, 0.38]
    assert published.RESULTS["ligtenberg_unet"]["amplitude_sdr_db"]["raw"]["mean"] == 9.33


def test_goel_results():
    assert goel.RECURRENT["rnn"][100, 100] == (0.336, 0.295, 0.186)
    assert goel.RECURRENT["lstm"][300, 50] == (0.640, 0.6714, 0.653)
    assert goel.RECURRENT["gru"][100, 150] == (0.7484, 0.741, 0.725)
    assert goel.RECURRENT["blstm"][300, 150] == (0.589, 0.585, 0.5461)
    assert goel.DENSE == {"rnn": 0.4516, "lstm": 0.7063, "gru": 0.7134, "blstm": 0.5579}
    assert goel.IMAGES["stacked"]["b2"] == (0.5412, 0.5193, 0.5076)
    assert goel.IMAGES["recurrence"]["b4"] == (0.7943, 0.6021, 0.5307)
    assert goel.CRNN["b3"] == (0.5753, 0.5579, 0.5410)


def test_vazonis_results():
    assert vazonis.MICRO["LSTM"] == (0.25, 0.75, 0.38)
    assert vazonis.MICRO["FFT and dense layers"] == (0.18, 0.68, 0.29)
    assert vazonis.MICRO["FFT and dense layers, 75 epochs"] == (None, None, 0.16)
    assert list(vazonis.BOSCH.values()) == [0.378, 0.451, 0.355, 0.446, 0.503]
    assert vazonis.FFT_PER_CLASS["cla"] == (0.02, 0.74, 0.05)
    assert vazonis.LSTM_PER_CLASS["gac"] == (0.25, 0.04, None)


def test_ligtenberg_results():
    macro = ligtenberg.MACRO_AUC
    assert macro["post"] == (0.82, 0.007) and macro["d_raw"] == -0.001
    assert ligtenberg.AUC["cla"]["d_raw"] == -0.077 and len(ligtenberg.AUC) == 11


def test_seipel_results():
    """The sizes of table 4.2 are those of its hours in samples of 16 bits at 44.1 kHz."""
    rows = {**seipel.INSTRUMENTS, "mixes": seipel.MIXES}
    for name, row in rows.items():
        assert row.megabytes == pytest.approx(row.hours * 3600 * 44_100 * 2 / 1e6, rel=3e-3), name
        assert row.num_tracks <= seipel.MIXES.num_tracks and row.hours <= seipel.MIXES.hours
    assert set(seipel.INSTRUMENTS) == set(ORCHESTRA)
    assert sum(seipel.NUM_PIECES) == seipel.MIXES.num_tracks - 1
    assert round(seipel.MEAN_PIECE_S / 60, 1) == 9.9
    assert pytest.approx(seipel.BEST_FRAMES * 1024 / 44_100, abs=0.005) == seipel.BEST_S
    assert seipel.BEST_FRAMES in seipel.FRAMES


def test_rendered_pieces_have_the_counts_of_table_4_2():
    counts = {name: row.num_tracks for name, row in seipel.INSTRUMENTS.items()}
    assert counts == SEIPEL_PIECES


def test_published_results_import_only_the_standard_library():
    for file in Path(published.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert node.module in ("typing", "irec_jax.studies.published")
            assert not isinstance(node, ast.Import)
