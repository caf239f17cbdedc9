"""Several recognisers applied together: averages, unions, and the outputs of `irec recognize`."""

import csv
import dataclasses
import json

import call_trace
import numpy as np
import pytest
import report_pages

import irec_jax
from irec_jax import cli
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.systems.ensemble import average, unite
from irec_jax.systems.recognized import Recognized, WindowScores


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """A folder with a song and systems; b has the classes of a in another order, c others."""
    folder = tmp_path_factory.mktemp("ensemble")
    write = call_trace.write_recogniser
    write(folder / "a", aggregation="max", threshold=0.45)
    write(folder / "b", seed=1, classes=["vio", "pia"], sample_rate_hz=11_025, window_s=0.4)
    write(folder / "c", seed=2, classes=["org", "vio", "voi"], sample_rate_hz=4000, window_s=1.0)
    call_trace.write_song(folder / "song.wav")
    return folder


@pytest.fixture(autouse=True)
def inside(work, monkeypatch):
    monkeypatch.chdir(work)


def call(*words):
    return run_command(lambda: cli.run(["recognize", "song.wav", *words]))


def scores_of(name):
    """Return the result of a single system."""
    return irec_jax.recognize("song.wav", workdir=name)


def test_a_system_and_its_copy_give_the_result_of_one(work):
    call_trace.write_recogniser(work / "copy", aggregation="max", threshold=0.45)
    single, both = scores_of("a"), irec_jax.recognize("song.wav", workdir=["a", "copy"])
    assert both.systems == dict.fromkeys(("pia", "vio"), ("a", "copy"))
    for field in dataclasses.fields(Recognized):
        if field.name != "systems":
            np.testing.assert_equal(getattr(both, field.name), getattr(single, field.name))
    assert both.segments == single.segments


def test_probabilities_of_systems_with_the_same_classes_are_averaged_on_the_finer_times():
    a, b = scores_of("a"), scores_of("b")
    assert list(a.scores) == ["pia", "vio"] and list(b.scores) == ["vio", "pia"]
    assert len(b.times_s) > len(a.times_s)
    result = irec_jax.load_recogniser(["a", "b"]).recognize("song.wav")
    np.testing.assert_array_equal(result.times_s, b.times_s)
    for k, name in enumerate(("pia", "vio")):
        of_a = np.interp(b.times_s, a.times_s, a.window_scores[:, k])
        expected = (of_a + b.window_scores[:, 1 - k]) / 2
        np.testing.assert_allclose(result.window_scores[:, k], expected, rtol=1e-6)
        # Clip score and threshold are those of a, the first system.
        np.testing.assert_allclose(result.scores[name], expected.max(), rtol=1e-6)
    assert result.thresholds == a.thresholds and list(result.scores) == ["pia", "vio"]


def test_the_first_system_determines_which_windows_count():
    ensemble = irec_jax.load_recogniser(["a", "b"])
    song = np.exp(-np.arange(16_000) / 4000) * np.random.default_rng(0).normal(size=16_000)
    results = {}
    for name in ("neither", "a", "b"):
        systems = {
            key: dataclasses.replace(
                system, aggregation="s1", max_decay_db=1.0 if key == name else None
            )
            for key, system in ensemble.systems.items()
        }
        changed = dataclasses.replace(ensemble, systems=systems)
        results[name] = changed.recognize(0.1 * song, sample_rate_hz=8000)
    assert results["b"].scores == results["neither"].scores
    first = results["a"].window_scores[0]  # the noise only decays
    np.testing.assert_allclose([*results["a"].scores.values()], first, rtol=1e-6)
    assert results["a"].scores != results["neither"].scores


def test_label_sets_of_systems_with_different_classes_are_united():
    a, c = scores_of("a"), scores_of("c")
    result = irec_jax.recognize("song.wav", workdir=["c", "a"])
    assert list(result.scores) == ["org", "vio", "voi", "pia"]
    assert set(result.labels) == {*a.labels, *c.labels}
    np.testing.assert_array_equal(result.times_s, a.times_s)
    for name, single in (("org", c), ("voi", c), ("pia", a)):
        assert result.scores[name] == single.scores[name]
        assert result.thresholds[name] == single.thresholds[name]
        column, own = list(result.scores).index(name), list(single.scores).index(name)
        for attribute in ("window_scores", "activity"):
            expected = np.interp(a.times_s, single.times_s, getattr(single, attribute)[:, own])
            np.testing.assert_allclose(getattr(result, attribute)[:, column], expected)
    assert result.systems["org"] == ("c",) and result.systems["pia"] == ("a",)
    (used,) = result.systems["vio"]
    assert result.scores["vio"] == {"a": a, "c": c}[used].scores["vio"]


def make_result(name, scores, labels, threshold=0.5):
    values = np.tile(list(scores.values()), (3, 1))
    return Recognized(
        source="x",
        labels=labels,
        scores=scores,
        thresholds=dict.fromkeys(scores, threshold),
        times_s=np.arange(3) + 0.5,
        window_scores=values,
        activity=values,
        duration_s=3.0,
        note="; ".join(["silent", name]),
        systems=dict.fromkeys(scores, (name,)),
    )


def test_a_shared_class_has_the_scores_of_the_system_that_recognises_it():
    first = make_result("first", {"pia": 0.6, "vio": 0.2, "org": 0.4}, (), threshold=0.7)
    second = make_result("second", {"vio": 0.3, "pia": 0.4}, ("pia",), threshold=0.35)
    result = unite([first, second])
    assert result.labels == ("pia",) and list(result.scores) == ["pia", "vio", "org"]
    assert result.systems == {"pia": ("second",), "vio": ("second",), "org": ("first",)}
    assert result.thresholds == {"pia": 0.35, "vio": 0.35, "org": 0.7}
    np.testing.assert_allclose(result.window_scores, np.tile([0.4, 0.3, 0.4], (3, 1)))
    assert result.note == "silent; first; second"


def test_systems_that_hear_nothing_are_left_out_of_the_average_unless_all_do():
    times_s, probabilities = np.array([0.5, 1.5]), np.array([[0.2], [0.4]])
    heard = WindowScores(
        times_s,
        probabilities,
        audible=np.ones(2, bool),
        counts=np.ones(2, bool),
        duration_s=2.0,
        notes=("damaged",),
    )
    silent = heard._replace(probabilities=probabilities * 0, nothing="silent", notes=())
    result = average([silent, heard])
    np.testing.assert_array_equal(result.probabilities, probabilities)
    assert result.nothing == "" and result.notes == ("damaged",)
    assert average([silent, silent]).nothing == "silent"


def test_nothing_is_recognised_in_silence():
    ensemble = irec_jax.load_recogniser(["a", "b", "c"])
    result = ensemble.recognize(np.zeros(20_000, np.float32), sample_rate_hz=8000)
    assert result.labels == () and result.note == "silent" and not result.activity.any()


def test_the_outputs_name_the_systems(capsys):
    single = scores_of("a")
    words = ["--workdir", "a", "--workdir", "c", "--threshold", "0.1", "--timeline"]
    words += ["--json", "r.json", "--segments", "r.csv", "--html", "r.html", "--plot", "r.png"]
    assert call(*words) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("song.wav")
    content = json.loads(open("r.json").read())
    assert content["systems"] == [
        {"workdir": "a", "aggregation": "max"},
        {"workdir": "c", "aggregation": "s2"},
    ]
    (record,) = content["files"]
    assert record["systems"]["pia"] == ["a"] and record["systems"]["voi"] == ["c"]
    assert set(record["scores"]) == set(record["over_time"]["scores"]) == {
        "pia", "vio", "org", "voi"
    }  # fmt: skip
    assert record["scores"]["pia"] == pytest.approx(single.scores["pia"], abs=1e-5)
    header, *rows = csv.reader(open("r.csv"))
    assert header == ["instrument", "start_s", "end_s", "systems"] and rows
    assert {(row[0], row[3]) for row in rows} <= {
        (name, " + ".join(names)) for name, names in record["systems"].items()
    }
    page = report_pages.Page(open("r.html").read())
    assert {"tiny in a; tiny in c", "unknown data"} <= set(page.texts("td"))
    (caption,) = {text for text in page.texts("figcaption") if "S2: " in text}
    assert "(max: maximum of the window probabilities; S2: sum of" in caption


def test_of_a_single_system_the_outputs_are_as_before(capsys):
    assert call("--workdir", "a", "--json", "s.json", "--segments", "s.csv") == 0
    content = json.loads(open("s.json").read())
    assert (content["workdir"], content["aggregation"]) == ("a", "max")
    assert "systems" not in content and "systems" not in content["files"][0]
    assert next(csv.reader(open("s.csv"))) == ["instrument", "start_s", "end_s"]


def test_mistakes_are_reported_in_one_line(capsys):
    for words, message in (
        (["--workdir", "a", "--workdir", "./a"], "./a: named twice; list each system once"),
        (["--workdir", "a", "--workdir", "d"], "d: no such folder"),
        (["--workdir", "a", "--workdir", "c", "--threshold", "loud"], "threshold 'loud'"),
        (["--workdir", "a", "--workdir="], "--workdir: empty name"),
    ):
        assert call(*words) == 1
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    with pytest.raises(UserError, match="named twice"):
        irec_jax.load_recogniser(["a", "a"])
