"""Training that starts from a trained system (`training.init_from`)."""

import dataclasses
import json
import shutil

import call_trace
import jax
import numpy as np
import pytest
import soundfile
from conftest import SMALL, call
from multitrack_sessions import write_sessions

from irec_jax import config as configs
from irec_jax.checkpoints import packaged, pretrained, storage
from irec_jax.errors import UserError
from irec_jax.experiment.initial import load_initial
from irec_jax.labels import IRMAS
from irec_jax.systems import load_recogniser
from irec_jax.systems.export import export
from irec_jax.training import loop

DEBUG = ["--config=configs/han.py:debug", *SMALL]
#: Parameters remain as they are at the start.
FROZEN = ["--config.optimizer.learning_rate=0.0", "--config.training.num_epochs=1"]
LAST_LAYER = {"params/Dense_1/kernel", "params/Dense_1/bias"}


def arrays(folder):
    """Return the arrays of a trained recogniser by name."""
    task = load_recogniser(folder).task
    target = jax.eval_shape(task.init, jax.random.key(0))
    return packaged.flatten(*storage.load_variables(folder, target))


def write_sounds(folder):
    rng = np.random.default_rng(0)
    for name, pitch_hz in (("bell", 2000), ("drum", 60), ("whistle", 900)):
        (folder / name).mkdir(parents=True)
        for i in range(8):
            time_s = np.arange(16_000 + 1000 * i) / 16_000
            wave = 0.5 * np.sin(2 * np.pi * pitch_hz * time_s) + 0.01 * rng.normal(size=len(time_s))
            soundfile.write(folder / name / f"{i}.wav", wave, 16_000)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return write_sounds(tmp_path_factory.mktemp("sounds") / "sounds")


def on_sounds(sounds, init_from, workdir):
    words = ["--config=configs/han.py:debug,dataset=folder", *SMALL, f"--workdir={workdir}"]
    words += [f"--config.data.path={sounds}", "--config.evaluation.baselines=False"]
    return [*words, f"--config.training.init_from={init_from}"]


def test_other_classes_get_a_new_last_layer(trained, sounds, tmp_path, capsys):
    """Dropout may differ; all repeats start from the same system."""
    words = [*on_sounds(sounds, trained, tmp_path / "run"), *FROZEN]
    assert call(*words, "--config.model.dropout=0.0", "--config.training.repeats=2") == 0
    printed = capsys.readouterr().out
    before = arrays(trained)
    sizes = {name: array.size for name, array in before.items()}
    num_taken = sum(size for name, size in sizes.items() if name not in LAST_LAYER)
    assert printed.count(f"{num_taken:,} parameters from {trained}; 51 new") == 1
    assert "because the classes differ (Dense_1/bias, Dense_1/kernel)" in printed
    for seed in (0, 1):
        folder = tmp_path / "run" / f"seed_{seed}"
        after, random = arrays(folder), load_recogniser(folder).task.init(jax.random.key(seed))
        random = packaged.flatten(*random)
        for name, array in after.items():
            expected = random if name in LAST_LAYER else before
            np.testing.assert_allclose(array, expected[name], rtol=1e-6, err_msg=name)


def test_default_system_is_taken_as_a_whole_for_the_same_classes(
    trained, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    folder = tmp_path / "pretrained" / pretrained.DEFAULT
    export(trained, folder)
    words = [*DEBUG, *FROZEN, "--config.evaluation.baselines=False"]
    words += [f"--workdir={tmp_path / 'run'}", "--config.training.init_from=pretrained"]
    assert call(*words) == 0
    assert "parameters from pretrained (the complete network)" in capsys.readouterr().out
    before = arrays(folder)
    for name, array in arrays(tmp_path / "run").items():
        np.testing.assert_array_equal(array, before[name], err_msg=name)
    # An export does not tell where the initial system was.
    system = json.loads((tmp_path / "run" / "system.json").read_text())
    assert system["config"]["training"]["init_from"] == "pretrained"


def test_resumed_training_does_not_start_again(trained, sounds, tmp_path, capsys, monkeypatch):
    """It needs the initial system no longer, and ends with the same parameters."""
    source = shutil.copytree(trained, tmp_path / "source")
    words = on_sounds(sounds, source, tmp_path / "whole")
    assert call(*words) == 0
    validate, calls = loop.TrainingRun._validate, []

    def interrupt_the_second(self, *arguments):
        calls.append(self)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return validate(self, *arguments)

    monkeypatch.setattr(loop.TrainingRun, "_validate", interrupt_the_second)
    words = on_sounds(sounds, source, tmp_path / "resumed")
    assert call(*words) == 130
    monkeypatch.undo()
    shutil.rmtree(source)
    capsys.readouterr()
    assert call(*words) == 0
    printed = capsys.readouterr().out
    assert "resuming after step" in printed and "parameters from" not in printed
    expected = arrays(tmp_path / "whole")
    for name, array in arrays(tmp_path / "resumed").items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_workdirs_of_earlier_versions_lack_the_key(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained, tmp_path / "run")
    config = json.loads((workdir / "config.json").read_text())
    assert config.pop("training.init_from") is None
    (workdir / "config.json").write_text(json.dumps(config))
    words = [*DEBUG, f"--workdir={workdir}", "--mode=eval"]
    words += ["--config.evaluation.baselines=False"]
    assert call(*words) == 0
    assert call(*words, f"--config.training.init_from={trained}") == 1
    assert f"training.init_from: None -> {trained}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.filters=(4,16)",
            "config.model.filters is [4, 8] in that system, but [4, 16] in this",
        ),
        ("model.activation=relu", "config.model.activation is lrelu_0.33 in that system, but relu"),
        # The default of the network, which the other config sets.
        ("model.pooling=mean", "config.model.pooling is max in that system, but mean"),
        ("frontend.num_mels=64", "frontend.num_mels is 128 in that system, but 64"),
        ("frontend.max_hz=8000.0", "frontend.max_hz is None in that system, but 8000.0"),
        ("data.format=stereo44k", "sample_rate_hz is 22050 in that system, but 44100"),
        ("training.init_from=nowhere", "nowhere: no such folder; specify a workdir, an exported"),
        ("training.init_from=pretrained", "no trained system comes with this version"),
    ],
)
def test_system_that_does_not_fit_is_one_line(
    trained, tmp_path, monkeypatch, capsys, override, message
):
    """It is reported before data are prepared, and leaves no workdir."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "none")
    words = [*DEBUG, f"--config.training.init_from={trained}", f"--config.{override}"]
    assert call(*words, "--workdir=run") == 1
    error = capsys.readouterr().err
    assert error.startswith("error: training.init_from=") and error.count("\n") == 1
    assert message in error
    assert list(tmp_path.iterdir()) == []


def load_config(spec, *overrides):
    config = configs.load(spec)
    configs.override(config, overrides)
    return config


def write_system(folder, config):
    """Write the workdir of an untrained system of a config."""
    task, _, rate_hz = configs.check_config(config)
    system = dict(task=config.task, name="tiny", sample_rate_hz=rate_hz, config=config.to_dict())
    system |= dict(window_s=config.data.window_s, hop_s=config.data.window_s)
    system["frontend"] = {"name": config.frontend.name} | dataclasses.asdict(task.frontend)
    if config.task == "separation":
        system |= dict(stems=task.stems, target=task.target, target_name="t", post_db=-60.0)
    else:
        system |= dict(classes=task.classes, aggregation="s2", thresholds={"fixed": 0.5})
    return call_trace.write_workdir(folder, task, system)


def load(config, folder):
    configs.override(config, [("training.init_from", str(folder))])
    task, _, rate_hz = configs.check_config(config)
    return load_initial(config, task, rate_hz)


SMALL_NETWORK = [("model.filters", "(4, 8)"), ("model.dense", "16")]


def test_last_layer_is_taken_for_an_equal_list_of_classes_only(tmp_path):
    folder = write_system(tmp_path / "source", load_config("han.py", *SMALL_NETWORK))
    config = load_config("han.py", *SMALL_NETWORK)
    assert LAST_LAYER <= load(config, folder).arrays.keys()
    classes = repr((*IRMAS[1:], IRMAS[0]))
    config = load_config("han.py", *SMALL_NETWORK, ("data.classes", classes))
    taken = load(config, folder).arrays.keys()
    assert not LAST_LAYER & taken and "params/Dense_0/kernel" in taken


def test_multi_instance_systems(tmp_path):
    """The outputs for attention, two per class, belong to the last layer."""
    path = ("data.path", str(write_sessions(tmp_path / "sessions", train=1, test=1)))
    sessions = [*SMALL_NETWORK, path, ("data.classes", "flute,viola")]
    spec = "seipel.py:dataset=multitrack,frames=16,instances=2,aggregate=attention"
    folder = write_system(tmp_path / "source", load_config(spec, *sessions))
    config = load_config(spec, *sessions, ("data.classes", "viola,flute"))
    missing = arrays(folder).keys() - load(config, folder).arrays.keys()
    assert missing == {f"params/networks_0/Dense_1/{name}" for name in ("kernel", "bias")}
    config = load_config(spec.replace("attention", "max"), *sessions)
    with pytest.raises(
        UserError, match="config.bag.aggregate is attention in that system, but max"
    ):
        load(config, folder)
    config = load_config("seipel.py:dataset=multitrack,frames=16", *sessions)
    with pytest.raises(UserError, match="config.task is multi_instance in that system, but rec"):
        load(config, folder)


def test_parameter_of_another_shape_is_named(tmp_path):
    """The size of the first layer is that of the window."""
    small = [("model.units", "(4,)"), ("frontend.length_samples", "0")]
    folder = write_system(tmp_path / "source", load_config("vazonis_fft.py", *small))
    window_s = load_config("vazonis_fft.py").data.window_s / 2
    config = load_config("vazonis_fft.py", *small, ("data.window_s", str(window_s)))
    with pytest.raises(UserError, match=r"parameter params/Dense_0/kernel is \(\d+, 4\) in that"):
        load(config, folder)


def test_separators_with_batch_statistics(tmp_path):
    """All arrays are taken, whatever the target."""
    small = [(f"model.{name}", "(2,)") for name in ("filters", "bottleneck")]
    small += [("model.kernels", "(5,)"), ("model.strides", "(2,)"), ("model.dilations", "(1,)")]
    folder = write_system(tmp_path / "source", load_config("ligtenberg_unet.py", *small))
    config = load_config("ligtenberg_unet.py", *small, ("data.target", "vocals"))
    task = configs.check_config(config)[0]
    variables = jax.tree.map(np.zeros_like, task.init(jax.random.key(1)))
    initial = load(config, folder)
    assert initial.arrays.keys() == packaged.flatten(*variables).keys()
    params, model_state = initial.apply(*variables)
    for name, array in packaged.flatten(params, model_state).items():
        np.testing.assert_array_equal(array, initial.arrays[name], err_msg=name)
    assert any(name.startswith("batch_stats/") for name in initial.arrays)
