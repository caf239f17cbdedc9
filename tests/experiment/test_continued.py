"""Workdirs that are continued on other devices and with other evaluation settings."""

import json
import shutil

import pytest
from conftest import SMALL, call

from irec_jax import config as configs
from irec_jax import experiment, models
from irec_jax.checkpoints import storage
from irec_jax.checkpoints.workdir import differences, lock_workdir
from irec_jax.data import Batches
from irec_jax.errors import UserError
from irec_jax.files import write_json
from irec_jax.studies import runs


def read(file):
    return json.loads(file.read_text())


def test_workdir_keeps_its_type_and_takes_other_evaluation_settings(
    trained, tmp_path, monkeypatch, capsys
):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert read(folder / "config.json")["model.dtype"] == "float32"
    assert read(folder / "system.json")["config"]["model"]["dtype"] is None  # by its user's device
    monkeypatch.setattr(models, "default_dtype", lambda: "bfloat16")
    words = ["--config=configs/han.py:debug", *SMALL, f"--workdir={folder}"]
    assert call(*words, "--config.model.dtype=bfloat16") == 1
    assert "another config (model.dtype: float32 -> bfloat16)" in capsys.readouterr().err
    # A finished training, on a device with bfloat16, as after a change of a default.
    words += ["--config.evaluation.baselines=False", "--config.evaluation.aggregation=s1"]
    monkeypatch.setattr(Batches, "create_store", None)  # its training data are not read
    assert call(*words, "--config.data.placement=device") == 0
    printed = capsys.readouterr().out
    assert "computes in float32, as when training in this workdir began (this device's" in printed
    assert read(folder / "config.json")["evaluation.aggregation"] == "s1"
    assert read(folder / "system.json")["aggregation"] == "s1"
    report = read(folder / "report.json")
    assert "baselines" not in report and report["settings"]["aggregation"] == "s1"


@pytest.mark.parametrize("recorded", ["float32", "bfloat16", None])
def test_type_of_a_workdir_is_that_of_its_training(tmp_path, recorded):
    config = configs.load("configs/han.py:debug")
    assert experiment._resolve_dtype(config, tmp_path).model.dtype == models.default_dtype()
    lock_workdir(tmp_path, configs.flatten(config) | {"model.dtype": recorded})
    assert experiment._resolve_dtype(config, tmp_path).model.dtype == models.default_dtype()
    (tmp_path / "checkpoints" / "3").mkdir(parents=True)
    resolved = experiment._resolve_dtype(config, tmp_path)
    assert resolved.model.dtype == (recorded or models.default_dtype())
    assert config.model.dtype is None
    configs.override(config, [("model.dtype", "float32")])
    assert experiment._resolve_dtype(config, tmp_path).model.dtype == "float32"


def test_type_that_a_workdir_did_not_record_is_a_difference():
    assert differences({"model.dtype": "bfloat16"}, {}) == ["model.dtype: (absent) -> bfloat16"]
    assert differences({"model.dtype": None}, {}) == []


@pytest.mark.parametrize("record", ["{}", "[]", "null", "{", '{"finished": true}'])
def test_training_with_a_damaged_record_has_not_finished(tmp_path, record):
    (tmp_path / "8" / "progress").mkdir(parents=True)
    (tmp_path / "8" / "progress" / "metadata").write_text(record)
    assert storage.has_finished(tmp_path) is ("finished" in record)


def test_studies_evaluate_again_what_was_evaluated_otherwise(tmp_path, capsys):
    run = runs.Run("a", "configs/ligtenberg_unet.py:debug")
    folder, flat = tmp_path / "a", configs.flatten(runs.resolve(run))
    (folder / "checkpoints" / "3").mkdir(parents=True)
    (folder / "report.json").write_text("{}")
    lock_workdir(folder, flat)
    assert runs._find_reports([run], tmp_path, None) == ({"a": {}}, {})
    earlier = {key: flat[key] for key in flat if not key.startswith("evaluation.post_")}
    lock_workdir(folder, earlier | {"evaluation.post_db": -70.0})
    reports, pending = runs._find_reports([run], tmp_path, None)
    assert not reports and [*pending] == ["a"]
    assert runs._find_reports([run], tmp_path, ()) == ({}, {})
    assert "a: omitted, because" in (printed := capsys.readouterr().out)
    assert "(evaluation.post_db: -70.0 -> -60.0;" in printed
    # An evaluation that was interrupted leaves its settings beside the earlier report.
    settings = runs.resolve(run).evaluation.to_dict()
    write_json(folder / "report.json", {"settings": settings | {"post_db": -70.0}})
    lock_workdir(folder, flat)
    assert [*runs._find_reports([run], tmp_path, None)[1]] == ["a"]
    write_json(folder / "report.json", {"settings": settings})
    assert [*runs._find_reports([run], tmp_path, None)[0]] == ["a"]
    lock_workdir(folder, earlier | {"evaluation.post_db": -70.0})
    assert [*runs._find_reports([run], tmp_path, None)[1]] == ["a"]
    lock_workdir(folder, flat | {"loss.l2": 0.5})
    with pytest.raises(UserError, match="another config .loss.l2: 0.5 -> "):
        runs._find_reports([run], tmp_path, None)
