"""Crosstalk study: from rendered pieces to the report, interrupted and resumed."""

import json
import re
import shutil

import numpy as np
import pytest
import report_pages
from study_helpers import irec

from irec_jax import crosstalk
from irec_jax.errors import UserError
from irec_jax.reports import writing
from irec_jax.studies import crosstalk as study


def study_tiny(workdir, *words):
    options = ["--size=tiny", "--split=test", "--format=multitrack44k", "--max-s=4"]
    return irec("study", "crosstalk", *options, f"--workdir={workdir}", *words)


@pytest.fixture(scope="module")
def studied(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("study") / "crosstalk"
    assert (
        study_tiny(workdir, "--min-tracks=9", "--methods=aligned,source,wiener,aligned_mmse") == 0
    )
    return workdir


def test_report_shows_scores_and_gains(studied):
    report = json.loads((studied / "report.json").read_text())
    assert report["rendered"]
    assert report["provenance"]["dataset"]["name"] == "gm_multitrack"
    for piece in report["pieces"].values():
        assert piece["num_tracks"] >= 5  # some tracks may be silent in the excerpt
        for level in ("-6", "-12", "-18"):
            scores = piece["levels"][level]
            for method in ("aligned", "source", "wiener"):
                expected = scores[method]["sir"] - scores["mixture"]["sir"]
                np.testing.assert_allclose(scores[method]["sir_gain"], expected, atol=1e-6)
            assert scores["aligned"]["sir_gain"] > 6
            assert scores["wiener"]["correlation"] is None
            assert scores["source"]["correlation"] > 0.3
        by_level = [piece["levels"][level]["mixture"]["sir"] for level in ("-6", "-12", "-18")]
        assert by_level == sorted(by_level)
        assert -1e-9 < piece["restarts"]["cost_excess"] < 1e-4
        assert piece["restarts"]["weight_difference"] < 0.01
    page = (studied / "report.md").read_text()
    (example,) = studied.glob("example-*.png")
    assert example.stat().st_size > 20_000 and f"]({example.name})" in page
    assert example.stem.removeprefix("example-") in report["pieces"]
    assert (studied / example.name.replace("example-", "restarts-")).stat().st_size > 10_000
    html = report_pages.check((studied / "report.html").read_text(), num_pictures=2)
    assert html.texts("p")[0].startswith("SIR gain: irec-jax (aligned, mask) ")
    assert html.texts("warning")[0].startswith("Rendered music, not the recordings")
    page = re.sub(" +", " ", page)
    assert "| reported: average | 0.678 | 0.957 | 0.937 |" in page
    assert "reported: Mozart | 9.14 | 7.31 | 3.92" in page
    for name in report["pieces"]:
        assert f"irec-jax (aligned, mask): {name}" in page
        # Scores by piece, but no correlation, since the estimate is that of the row above.
        assert page.count(f"irec-jax (aligned, Ephraim-Malah): {name}") == 1


def test_interrupted_study_resumes(studied, tmp_path, monkeypatch):
    workdir = tmp_path / "again"
    shutil.copytree(studied, workdir)
    files = sorted((workdir / "pieces").iterdir())
    contents = {file: file.read_bytes() for file in files}
    files[-1].unlink()
    (workdir / "report.json").unlink()
    executed = []
    original = study.study_piece
    monkeypatch.setattr(
        study, "study_piece", lambda piece, **k: executed.append(piece.name) or original(piece, **k)
    )
    assert (
        study_tiny(workdir, "--min-tracks=9", "--methods=aligned,source,wiener,aligned_mmse") == 0
    )
    assert len(executed) == 1
    assert {file: file.read_bytes() for file in files} == contents
    # The figures of the earlier call are part of the new page.
    report_pages.check((workdir / "report.html").read_text(), num_pictures=2)


def test_selected_pieces_have_their_own_example(studied, tmp_path, monkeypatch):
    workdir = tmp_path / "more"
    shutil.copytree(studied, workdir)
    result = json.loads(next((workdir / "pieces").iterdir()).read_text())
    examples, png = [], next(workdir.glob("example-*.png")).read_bytes()
    monkeypatch.setattr(study, "study_piece", lambda piece, **k: result)
    monkeypatch.setattr(study, "draw_example", lambda piece, **k: examples.append(piece.name))
    monkeypatch.setattr(study, "draw_restarts", lambda piece, **k: examples.append(piece.name))
    monkeypatch.setattr(writing, "encode", lambda figure, file_format, **_: png)
    assert (
        study_tiny(workdir, "--min-tracks=3", "--methods=aligned,source,wiener,aligned_mmse") == 0
    )
    pieces = json.loads((workdir / "report.json").read_text())["pieces"]
    assert examples == [next(iter(pieces))] * 2
    assert f"](example-{examples[0]}.png)" in (workdir / "report.md").read_text()


def test_players_of_an_instrument_are_summed(studied, tmp_path, monkeypatch):
    result = json.loads(next((studied / "pieces").iterdir()).read_text())
    pieces, png = [], next(studied.glob("example-*.png")).read_bytes()
    monkeypatch.setattr(study, "study_piece", lambda piece, **k: pieces.append(piece) or result)
    monkeypatch.setattr(study, "draw_example", lambda piece, **k: None)
    monkeypatch.setattr(study, "draw_restarts", lambda piece, **k: None)
    monkeypatch.setattr(writing, "encode", lambda figure, file_format, **_: png)
    words = ["--min-tracks=2", "--methods=aligned,source,wiener,aligned_mmse"]
    assert study_tiny(tmp_path / "players", *words) == 0
    players = {piece.name: piece for piece in pieces}
    assert any(len(set(piece.instruments)) < len(piece.tracks) for piece in pieces)
    pieces.clear()
    assert study_tiny(tmp_path / "sums", *words, "--sum-players") == 0
    for piece in pieces:
        before = players[piece.name]
        assert piece.tracks == piece.instruments == tuple(dict.fromkeys(before.instruments))
        for name, stem in zip(piece.tracks, piece.stems, strict=True):
            members = [j for j, own in enumerate(before.instruments) if own == name]
            np.testing.assert_allclose(stem, before.stems[members].sum(axis=0), atol=1e-6)
    assert "tracks of each instrument are summed" in (tmp_path / "sums/report.md").read_text()
    assert "are summed" not in (tmp_path / "players/report.md").read_text()


@pytest.mark.parametrize(
    ("words", "split"),
    [
        ([], "test"),
        (["--dataset=multitrack"], "all"),
        (["--dataset=multitrack", "--split=test"], "test"),
    ],
)
def test_default_split_of_recorded_pieces_is_all(monkeypatch, tmp_path, capsys, words, split):
    def pieces(name, split, **options):
        raise UserError(f"split {split}")

    monkeypatch.setattr(study, "load_pieces", pieces)
    assert irec("study", "crosstalk", f"--workdir={tmp_path}", *words) == 1
    assert capsys.readouterr().err == f"error: split {split}\n"


def test_workdir_with_other_settings_is_rejected(studied, capsys):
    assert study_tiny(studied, "--min-tracks=9", "--methods=aligned", "--seed=1") == 1
    error = capsys.readouterr().err
    assert "other settings (seed, methods)" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods=magic"], "--methods magic: unknown"),
        (["--methods="], "--methods '': contains no name"),
        (["--dataset=multitrack", "--layout=medleydb", "--path=/nowhere"], "/nowhere: no such"),
        (["--max-s=nan"], "--max-s nan: expected a positive"),
        (["--min-tracks=90"], "no piece of gm_multitrack"),
        (["--dataset=gm_irmas"], "not multitrack pieces"),
        (["--split=valid"], "has no 'valid' split"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(tmp_path, capsys, words, message):
    assert study_tiny(tmp_path / "x", *words) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_residues_are_measured_in_pauses():
    rng = np.random.default_rng(0)
    sources = rng.standard_normal((3, 100_000)).astype(np.float32)
    sources[0, 25_000:75_000] = sources[1, :50_000] = 0  # the third one has no pause
    spots = sources + 0.1 * np.roll(sources, 1, axis=0)
    pauses = [study._is_silent(source) for source in sources]
    assert [int(pause.sum()) for pause in pauses] == [22, 24, 0]
    quieter = np.array([[0.1], [0.01], [1]], np.float32) * spots
    residues = study._musical_noise(spots, quieter, pauses)
    np.testing.assert_allclose(list(residues.values()), [0, 30], atol=1e-4)
    silence = study._musical_noise(spots, 0 * spots, pauses)
    assert silence == {"log_kurtosis_ratio": None, "attenuation": None}


def test_inverse_without_direct_sound_uses_the_weights():
    rng = np.random.default_rng(0)
    mixing = np.eye(3) + 0.1 * rng.random((3, 3)) * (1 - np.eye(3))
    inverse = np.linalg.inv(mixing)
    correlations = study._correlations(mixing, inverse)
    np.testing.assert_allclose(list(correlations.values()), [1, 1])
    weights = (np.eye(3) - inverse)[None]
    estimate = crosstalk.Crosstalk(np.eye(3), np.zeros((3, 3), int), weights)
    np.testing.assert_allclose(estimate.inverse_mixing(), inverse)
