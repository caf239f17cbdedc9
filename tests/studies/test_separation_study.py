"""Separation study: selection on validation, comparison on test, and a complete run."""

import dataclasses
import json
import types

import jax
import numpy as np
import pytest
import report_pages
import sklearn.metrics
from study_helpers import irec, table_cells

from irec_jax import cli, config, data, main
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.frontends import SpectrogramDb
from irec_jax.studies import (
    options,
    runs,
    separation,
    separation_ablation,
    separation_data,
    separation_tables,
)
from irec_jax.systems import load_recogniser
from irec_jax.tasks import Separation, create_separation

CLASSES = ["pia", "sax", "voi"]
SDR = {name: {"mean": value, "sd": 1.0} for name, value in
       {"mixture": 2.0, "raw": 9.0, "post": 8.5, "ideal": 15.0}.items()}  # fmt: skip
#: Change of the SDR with each interpretation of the postprocessing.
POST = {
    name: {"mean": 9.0 + change, "sd": 1.0, "paired": {"difference": change, "interval": [-9, 9]}}
    for name, change in (
        ("absolute, floor", 0.0),
        ("segment, floor", -0.1),
        ("segment, zero", -1.8),
    )
}
#: Quality of the ranking by the classifiers of each system, with both L2 weights.
SKILL = {
    ("base", "1e-06"): 0.6,
    ("base", "1e-05"): 1.0,
    ("raw", "1e-06"): 3.0,
    ("raw", "1e-05"): 0.2,
    ("post", "1e-06"): 1.0,
    ("post", "1e-05"): 0.5,
}


def study(workdir, *words):
    return irec("study", "separation", f"--workdir={workdir}", *words)


def predictions(skill, *, num_songs=40, seed=0):
    """Return labels and scores of three clips per song; scores separate classes by `skill`."""
    rng, arrays = np.random.default_rng(seed), {"classes": np.array(CLASSES)}
    for split in ("validation", "test"):
        songs = np.repeat([f"{split} {i}" for i in range(num_songs)], 3)
        labels = np.repeat(rng.random((num_songs, 3)) < 0.4, 3, axis=0)
        noise = rng.normal(size=labels.shape)
        arrays |= {
            f"{split}_ids": np.array([f"{split} clip {i}" for i in range(len(songs))]),
            f"{split}_songs": songs,
            f"{split}_labels": labels,
            f"{split}_scores": (skill * labels + noise).astype(np.float32),
        }
    return arrays


def make_report(settings):
    """Return the entries of a report that the study needs."""
    score = "valid_auc" if settings.task == "recognition" else "valid_amplitude_sdr"
    history = [
        {"epoch": i, "train_loss": 1 / i, "valid_loss": 1.1 / i, score: i / 4} for i in (1, 2, 3)
    ]
    report = {
        "rendered": True,
        "dataset": settings.data.name,
        "classes": CLASSES,
        "best_epoch": history[1],
        "history": history,
        "provenance": {
            "dataset": {"name": settings.data.name, "version": "1.0.0", "config": "tiny"},
            "command": "irec study",
            "durations_s": {"training": 3.0},
        },
    }
    if settings.task == "recognition":
        counts = dict(zip(CLASSES, (3, 5, 7), strict=True))
        side = {"num_examples": 9, "num_songs": 4, "per_class": counts}
        report["protocol"] = {"sides": dict.fromkeys(("training", "validation", "test"), side)}
    if settings.task == "separation":
        names = list(SDR)
        scores = {s: {"amplitude_sdr_db": SDR[s]["mean"]} for s in names}
        report |= {
            "systems": names,
            "num_tracks": 2,
            "tracks": [{"name": f"track {i}", "scores": scores} for i in range(2)],
            "summary": {s: {"amplitude_sdr_db": SDR[s]} for s in names},
            "post_variants": POST,
        }
    return report


@pytest.fixture
def fake_runs(monkeypatch):
    """Replace experiments and separation by fakes; return the names of executed steps."""
    executed = []

    def experiment(name, settings, folder, mode):
        executed.append(folder.name)
        write_json(folder / "config.json", config.flatten(settings))
        if "dropout" in folder.name:
            raise UserError("the loss is nan at step 3: lower it")
        if settings.task == "recognition":
            system, _, l2 = folder.name.partition("-l2-")
            np.savez(folder / "predictions.npz", **predictions(SKILL[system, l2]))
        write_json(folder / "report.json", make_report(settings))

    def store(separator, settings, folder, *, listen):
        executed.append(f"stored {listen}")
        return {name: str(folder / listen) for name in ("raw", "post")}

    dataset = {"name": "gm_musdb", "version": "1.0.0", "config": "small", "rendered": True}
    separator = types.SimpleNamespace(
        frontend=SpectrogramDb(),
        num_frames=126,
        made_by="ligtenberg_unet 0123456789ab",
        system={
            "window_s": 3.0,
            "frontend": {"name": "spectrogram_db", "num_bins": 2048, "num_frames": 128,
                         "floor_db": -100.0, "scale_db": 150.0, "hop_length": 1050},
            "target": ["vocals", "other"],
            "post_db": -60.0,
            "post_reference": "segment",
            "dataset": dataset,
        },
    )  # fmt: skip
    monkeypatch.setattr(runs.experiment, "run", experiment)
    monkeypatch.setattr(runs.data, "load", lambda settings: None)
    monkeypatch.setattr(runs.data, "load_stems", lambda settings: None)
    monkeypatch.setattr(separation_data, "load_trained_separator", lambda workdir: separator)
    monkeypatch.setattr(separation_data, "store", store)
    return executed


def test_all_runs_are_executed_once_and_compared(fake_runs, tmp_path, capsys):
    assert study(tmp_path) == 1  # a variant fails
    variants = separation_ablation.ABLATIONS
    classifiers = [f"{s}-l2-{l2}" for s in ("base", "raw", "post") for l2 in separation.L2]
    expected = ["separator", "stored features", *classifiers, *(f"ablation-{v}" for v in variants)]
    assert fake_runs == expected
    report = json.loads((tmp_path / "report.json").read_text())
    # The run of each system that ranks the validation clips best is selected.
    assert {name: system["l2"] for name, system in report["systems"].items()} == {
        "base": "1e-05",
        "raw": "1e-06",
        "post": "1e-06",
    }
    raw = predictions(3.0)
    expected_auc = [
        sklearn.metrics.roc_auc_score(raw["test_labels"][:, k], raw["test_scores"][:, k])
        for k in range(3)
    ]
    np.testing.assert_allclose(report["systems"]["raw"]["auc"], expected_auc)
    base, raw, post = report["systems"].values()
    np.testing.assert_allclose(raw["difference"], raw["macro"] - base["macro"])
    half = raw["macro_standard_error"] + base["macro_standard_error"]
    np.testing.assert_allclose(raw["macro_d"], raw["difference"] - half)
    assert raw["difference_interval"][0] > 0 and post["difference"] == 0  # equal scores
    printed = capsys.readouterr().out
    assert "Separation helped the raw classifier on gm_irmas (rendered music)" in printed
    assert printed.count("failed: the loss is nan") == 1
    page = (tmp_path / "report.md").read_text()
    assert "rendered audio (gm_irmas and gm_musdb)" in page.splitlines()[2]
    (row,) = table_cells(page, "saxophone")
    assert row[0] == str(report["num_positives"][1])
    assert row[1].startswith(f"{base['auc'][1]:.3f} ± {base['standard_error'][1]:.3f} (")
    assert row[6:] == ["0.846 ± 0.024", "0.856 ± 0.024", "0.882 ± 0.022", "-0.038", "-0.001"]
    assert table_cells(page, "raw")[0][-2:] == ["0.806 ± 0.009", "-0.001"]
    assert "9.00 ± 1.00" in page and "9.33 ± 4.29" in page and "- ablation-dropout" in page
    assert table_cells(page, "training") == [["18", "30", "33.3% to 77.8%", "8,006", "8,911"]]
    assert report["labels"]["test"]["per_class"] == {"pia": 3, "sax": 5, "voi": 7}
    assert table_cells(page, "the maximum of each segment") == [
        ["silent", "used here", "8.90 ± 1.00", "-0.10 [-9.00, +9.00]"],
        ["0 dB", "", "7.20 ± 1.00", "-1.80 [-9.00, +9.00]"],
    ]
    assert (
        "Within 0.5 dB of the reported loss of 2.04 dB: relative to the maximum of each segment, "
        "removed values become 0 dB." in page
    )
    assert [row[-1] for row in table_cells(page, "base")[-2:]] == ["–", "0.732"]
    for name in ("labels", "auc", "roc", "sdr_per_track", "separator", "ablations", "experiments"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000 and f"({name}.png)" in page
    html = report_pages.check((tmp_path / "report.html").read_text(), num_pictures=7)
    assert html.texts("p")[0].startswith("Separation helped")
    assert html.texts("figcaption")[0].startswith("ROC curves by class")
    captions = [text for text in html.texts("figcaption") if "Command" in text]
    separator = [text for text in captions if "Data: gm_musdb 1.0.0, tiny, rendered audio" in text]
    captions = [text.split(" ")[0] for text in separator]
    assert captions == ["Amplitude", "Amplitude", "The", "Experiments"]
    fake_runs.clear()
    assert study(tmp_path) == 1
    assert fake_runs == ["stored features", "ablation-dropout"]


def test_interrupted_study_resumes(fake_runs, tmp_path, capsys, monkeypatch):
    original = runs.experiment.run

    def interrupted(name, settings, folder, mode):
        if folder.name.startswith("post"):
            raise KeyboardInterrupt
        original(name, settings, folder, mode)

    words = ["--quick", "--no-ablations"]
    monkeypatch.setattr(runs.experiment, "run", interrupted)
    assert study(tmp_path, *words) == 130
    assert "run the same command again" in capsys.readouterr().err
    assert not (tmp_path / "report.json").exists()
    monkeypatch.setattr(runs.experiment, "run", original)
    assert study(tmp_path, *words) == 0
    executed_before = ["separator", "stored features", "base-l2-1e-06", "raw-l2-1e-06"]
    assert fake_runs == [*executed_before, "stored features", "post-l2-1e-06"]
    assert not (tmp_path / "ablations.png").exists()
    assert study(tmp_path, *words, "--listen=audio") == 1
    assert "other settings (listen)" in capsys.readouterr().err


def parsed(*words):
    parser = cli.argparse.ArgumentParser()
    options.add_arguments("separation", parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [[], ["--quick"], ["--debug"], ["--listen=audio"]])
def test_every_run_has_its_own_config(words, fake_runs):
    arguments = parsed(*words)
    separator = separation_data.load_trained_separator(None)
    plan = [separation.separator_run(arguments)]
    ablations = separation.ablation_runs(arguments)
    assert tuple(ablations) == (
        separation_ablation.FIGURE if "--quick" in words else tuple(separation_ablation.ABLATIONS)
    )
    plan += ablations.values()
    for system in separation.SYSTEMS:
        plan.append(separation.classifier_run(arguments, separator, system, "1e-05", f"s/{system}"))
    resolved = {run.name: config.flatten(runs.resolve(run)) for run in plan}
    assert len({json.dumps(flat) for flat in resolved.values()}) == len(plan) == 4 + len(ablations)
    base, raw, post = (resolved[f"{s}-l2-1e-05"] for s in separation.SYSTEMS)
    assert "data.stored" not in base and raw["data.stored"] == "s/raw"
    assert base["frontend.name"] == "spectrogram_db" and base["loss.l2"] == 1e-5
    if "--listen=audio" in words:
        assert post["frontend.name"] == "spectrogram_db" and post["data.stored"] == "s/post"
    else:
        assert post["frontend.name"] == raw["frontend.name"] == "stored"
        assert post["frontend.post_db"] == -60.0 and "frontend.post_db" not in raw
        assert post["frontend.post_reference"] == "segment"
    # All three have the same budget.
    keys = [k for k in base if k.startswith(("training.", "model.", "optimizer.", "loss."))]
    assert all(base[k] == raw[k] == post[k] for k in keys) and base["data.split"] == "parts"
    regularised = {
        name: (
            flat["augment.stretch"] != [1.0, 1.0],
            flat.get("model.dropout", 0.0),
            flat["loss.l2"],
            flat.get("model.kernel_init", "glorot"),
        )
        for name in separation_ablation.FIGURE
        for flat in [resolved[f"ablation-{name}"]]
    }
    assert regularised == {
        "base": (False, 0.0, 0.0, "glorot"),
        "augmented": (True, 0.0, 0.0, "glorot"),
        "dropout": (True, 0.5, 0.0, "glorot"),
        "l2": (True, 0.0, 1e-4, "glorot"),
        "truncated_normal": (True, 0.0, 1e-4, "truncated_normal"),
    }
    assert resolved["separator"]["model.output"] != resolved["ablation-base"]["model.output"]
    if words == []:
        assert resolved["ablation-base"]["training.num_epochs"] == 50
        assert base["training.stop_by"] == "auc" and base["training.patience"] == 50
        error = resolved["ablation-mean_squared_error"]["loss.name"]
        assert error == "mean_squared_error"
        assert resolved["ablation-dilation"]["model.dilations"] == [2] * 6


def test_the_separator_of_the_paper_is_trained_and_evaluated_as_in_the_paper():
    arguments = parsed("--stems=musdb18", "--output=paper")
    run = separation.separator_run(arguments)
    assert run.config == "configs/ligtenberg_unet.py:dataset=musdb18,paper"
    settings = config.flatten(runs.resolve(run))
    assert settings["training.num_epochs"] == 375 and settings["model.output"] == "direct"
    assert settings["evaluation.windows"] == "side_by_side"
    assert settings["model.kernel_init"] == "truncated_normal"
    quick = separation.separator_run(parsed("--output=paper", "--quick"))
    brief = config.flatten(runs.resolve(quick))
    assert brief["training.num_epochs"] == 10
    assert brief["model.kernel_init"] == "truncated_normal"


def make_comparison(**intervals):
    systems = {"base": {}}
    for name, interval in intervals.items():
        systems[name] = {"difference": sum(interval) / 2, "difference_interval": interval}
    return {
        "clips_rendered": True,
        "settings": {"debug": False},
        "provenance": {"dataset": {"name": "gm_irmas"}},
        "systems": systems,
    }


@pytest.mark.parametrize(
    ("raw", "post", "expected"),
    [
        ([0.01, 0.03], [0.02, 0.04], "helped recognition on DATA, with and without post"),
        ([-0.03, -0.01], [-0.04, -0.02], "hurt recognition on DATA, with and without post"),
        ([-0.01, 0.03], [0.02, 0.04], "helped the post classifier on DATA; the other"),
        ([-0.03, -0.01], [-0.04, 0.02], "hurt the raw classifier on DATA; the other"),
        ([0.01, 0.03], [-0.04, -0.02], "raw classifier and hurt the post classifier on DATA. "),
        ([-0.01, 0.03], [-0.02, 0.04], "no significant difference on DATA. "),
    ],
)
def test_verdict_is_followed_by_the_numbers(raw, post, expected):
    text = separation_tables.verdict(make_comparison(raw=raw, post=post))
    assert expected.replace("DATA", "gm_irmas (rendered music)") in text
    assert text.count(". ") == 1 and text.endswith("].")
    assert f"raw {sum(raw) / 2:+.3f} [{raw[0]:+.3f}, {raw[1]:+.3f}]" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stems=musdb"], "--stems musdb: unknown; choose from gm_musdb and musdb18"),
        (
            ["--output=masks"],
            "--output masks: unknown; choose from attenuation, direct, mask and paper",
        ),
        (["--listen=both"], "--listen both: unknown; choose from features and audio"),
        (["--stems-path=x"], "--stems-path: only applies to musdb18"),
        (["--dataset=folder"], "--dataset folder: unknown; choose from gm_irmas and irmas"),
        (["--separator=nowhere"], "nowhere: no such folder"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(tmp_path, capsys, words, message):
    assert study(tmp_path / "x", *words) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and error.count("\n") == 1
    assert not (tmp_path / "x").exists()


SMALL = dict(
    stems=("drums", "bass", "other", "vocals"),
    target=("vocals", "other"),
    sample_rate_hz=44_100,
    window_s=0.5,
    frontend=dict(
        name="spectrogram_db", frame_length=1024, hop_length=350, num_bins=512, num_frames=64
    ),
)


@pytest.fixture(scope="module")
def separator():
    """Separator with initial parameters."""
    task = create_separation(
        **SMALL,
        model=dict(name="unet", filters=(2, 4), kernels=(3, 3), strides=(2, 2), dilations=(1, 1),
                   bottleneck=()),
        loss=dict(name="mean_absolute_error", domain="amplitudes", l2=0.0),
        augment={},
    )  # fmt: skip
    front = {"name": "spectrogram_db"} | dataclasses.asdict(task.frontend)
    dataset = {"name": "gm_musdb", "version": "1.0.0", "config": "tiny", "rendered": True}
    return separation_data.TrainedSeparator(
        task=task,
        variables=jax.device_get(task.init(jax.random.key(1))),
        system=SMALL | {"frontend": front, "post_db": -60.0, "dataset": dataset},
        made_by="unet 0123",
    )


@pytest.fixture(scope="module")
def clips(separator):
    """Config section of the clips to be separated, and their dataset."""
    run = separation.classifier_run(parsed("--debug"), separator, "base", "1e-06")
    settings = runs.resolve(run).data
    return settings, data.load(settings)


def test_stored_features_match_the_separator(separator, clips, tmp_path, monkeypatch):
    settings, dataset = clips
    predict = jax.jit(separator.task.predict)
    stores = separation_data.store(separator, settings, tmp_path)
    assert stores == dict.fromkeys(("raw", "post"), str(tmp_path / "features"))
    loaded = data.load(dict(settings.to_dict(), stored=stores["raw"]))
    for stored_clips, original_clips, i in (
        (loaded.train, dataset.train, 17),
        (loaded.test, dataset.test, 1),
    ):
        audio = np.zeros((1, 22_050), np.float32)
        samples = original_clips.read(i)[0]
        audio[0, : len(samples)] = samples / np.float32(32768)
        expected = predict(*separator.variables, {"audio": audio})[0, :, :63]
        stored = stored_clips.read(i)[0].reshape(512, 63) / 32768
        np.testing.assert_allclose(stored, expected, atol=1e-4)
        assert stored_clips.ids[i] == original_clips.ids[i]
    # Another separator is rejected; for the same separator, nothing is computed again.
    other_separator = dataclasses.replace(separator, made_by="unet 4567")
    with pytest.raises(UserError, match=r"holds other examples by unet 0123 \(different made_by\)"):
        separation_data.store(other_separator, settings, tmp_path)
    monkeypatch.setattr(separation_data, "_read_batch", None)
    assert separation_data.store(separator, settings, tmp_path) == stores


def test_stored_audio_of_an_identity_separator_matches_the_clip(separator, clips, tmp_path):
    settings, dataset = clips

    class KeepsAll(Separation):
        """Estimates the mixture itself."""

        def predict(self, params, model_state, batch):
            return self.frontend(batch["audio"] / 32768.0)

    names = [field.name for field in dataclasses.fields(separator.task)]
    task = KeepsAll(**{name: getattr(separator.task, name) for name in names})
    system = separator.system | {"post_db": 10.0}
    identity = dataclasses.replace(separator, task=task, system=system)
    stores = separation_data.store(identity, settings, tmp_path, listen="audio")
    raw, post = (data.open_store(stores[name]) for name in ("raw", "post"))
    for i in (0, 20, 41):
        clip = dataset.train.read(i)[0][500:].astype(np.float64)
        row = raw.rows[str(dataset.train.ids[i])]
        error = raw.values[row][500:][: len(clip)] - clip
        assert 10 * np.log10(np.mean(clip**2) / np.mean(error**2)) > 50
        energy = np.sum(np.square(post.values[row].astype(float)))
        assert 0.2 < energy / np.sum(np.square(raw.values[row].astype(float))) < 0.9999


def test_complete_run_from_clips_to_report(separator, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(separation_data, "load_trained_separator", lambda workdir: separator)
    words = ["--debug", "--no-ablations", "--separator=trained"]
    assert study(tmp_path, *words) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert "Debug run on tiny data" in capsys.readouterr().out and len(report["classes"]) == 11
    for name, system in report["systems"].items():
        run_report = json.loads((tmp_path / "runs" / f"{name}-l2-1e-06/report.json").read_text())
        auc = run_report["ranking"]["auc"]
        np.testing.assert_allclose(system["macro"], auc["macro"])
        pairs = [(a, b) for a, b in zip(system["auc"], auc["per_class"].values(), strict=True)]
        assert all(a == b or abs(a - b) < 1e-9 for a, b in pairs)
        dataset_config = run_report["provenance"]["dataset"]["config"]
        assert dataset_config == "tiny-stereo44k" + (
            "" if name == "base" else ", features by unet 0123"
        )
    # The main command evaluates the trained classifier with the same result.
    run = separation.classifier_run(
        parsed(*words), separator, "post", "1e-06", str(tmp_path / "separated" / "features")
    )
    folder = tmp_path / "runs" / run.name
    (folder / "predictions.npz").rename(tmp_path / "earlier.npz")
    settings = [f"--config.{key}={text}" for key, text in run.overrides]
    main.main([f"--config={run.config}", f"--workdir={folder}", "--mode=eval", *settings])
    with (
        np.load(folder / "predictions.npz") as current,
        np.load(tmp_path / "earlier.npz") as earlier,
    ):
        np.testing.assert_allclose(current["test_scores"], earlier["test_scores"], atol=1e-6)
    with pytest.raises(UserError, match="trained on the output of a separator"):
        load_recogniser(folder)
