"""Configs: arguments, overrides, errors and differences."""

import os
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from irec_jax import config as configs
from irec_jax import models
from irec_jax.checkpoints.workdir import differences
from irec_jax.config.checks import check_config
from irec_jax.errors import UserError

HAN = "configs/han.py"
CONFIGS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "configs").glob("*.py")
    if path.stem not in ("__init__", "common")
)


def load(spec=HAN, **settings):
    config = configs.load(spec)
    configs.override(config, [(k.replace("__", "."), v) for k, v in settings.items()])
    configs.check_keys(config)
    return config


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_valid_and_locked_and_accepts_debug(name):
    config = load(f"configs/{name}.py")
    assert config.is_locked
    small = load(f"configs/{name}.py:debug")
    assert small.training.num_epochs < config.training.num_epochs
    assert set(configs.flatten(small)) == set(configs.flatten(config))


def test_configs_load_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load().model.name == "convnet"
    (tmp_path / "mine.py").write_text(
        "from configs import han\n\ndef get_config(text=''):\n"
        "    config = han.get_config(text)\n    config.seed = 7\n    return config\n"
    )
    assert load("mine.py:dataset=irmas").seed == 7
    assert "configs/" not in os.listdir(tmp_path)


def test_arguments_after_the_colon_are_applied():
    config = load(f"{HAN}:dataset=irmas,window_s=0.5,activation=tanh")
    assert (config.data.name, config.data.window_s, config.evaluation.hop_s) == ("irmas", 0.5, 0.25)
    assert config.model.activation == "tanh" and "size" not in config.data


def test_overrides_keep_types_and_reach_any_argument_of_a_named_section():
    config = load(
        optimizer__learning_rate="1",
        optimizer__b1="0.5",
        model__filters="(4, 8)",
        training__num_epochs="7",
        frontend__mel_scale="htk",
        frontend__max_hz="8000",
        evaluation__aggregation="s1",
    )
    assert config.optimizer.learning_rate == 1.0 and type(config.optimizer.learning_rate) is float
    assert config.optimizer.b1 == 0.5 and tuple(config.model.filters) == (4, 8)
    assert config.training.num_epochs == 7 and config.frontend.mel_scale == "htk"
    assert config.frontend.max_hz == 8000 and config.evaluation.aggregation == "s1"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_network_computes_in_bfloat16_if_set(name):
    config = load(f"configs/{name}.py:debug", model__dtype="bfloat16")
    assert config.model.dtype == "bfloat16"
    task, params, _ = check_config(config)
    _, model_state = jax.eval_shape(task.init, jax.random.key(0))
    # Parameters and predictions stay float32.
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype("float32")}
    batch = {
        "audio": jax.ShapeDtypeStruct((2, task.window_samples), "float32"),
        "gain": jax.ShapeDtypeStruct((2,), "float32"),
        "num_samples": jax.ShapeDtypeStruct((2,), "int32"),
    }
    jaxpr = jax.make_jaxpr(task.predict)(params, model_state, batch)
    assert "bf16" in str(jaxpr) and jaxpr.out_avals[0].dtype == np.float32
    if load(f"configs/{name}.py:debug").model.get("dtype", "float32") is None:
        _check_training_in_bfloat16(task, params, model_state)


def _check_training_in_bfloat16(task, params, model_state):
    """Check that the loss, its gradients and the statistics are float32."""
    if not hasattr(task, "classes"):
        batch = {"stems": ((2, len(task.stems), task.window_samples), "int16")}
    else:
        labels = ((2, len(task.classes)), "float32")
        batch = {"audio": ((2, task.window_samples), "int16"), "labels": labels}
    batch |= {name: ((2,), "float32") for name in ("gain", "mask")}
    batch |= {name: ((2,), "int32") for name in ("num_samples", "index")}
    shapes = {name: jax.ShapeDtypeStruct(*shape) for name, shape in batch.items()}

    def gradient(params, model_state, shapes):
        def loss(params):
            result = task.loss(params, model_state, shapes, jax.random.key(0), True)
            return result[0], result[2:]

        return jax.value_and_grad(loss, has_aux=True)(params)

    outputs = jax.tree.leaves(jax.eval_shape(gradient, params, model_state, shapes))
    assert {leaf.dtype for leaf in outputs} == {np.dtype("float32")}


@pytest.mark.parametrize(
    ("device", "dtype"),
    [
        (dict(platform="cpu"), "float32"),
        (dict(platform="gpu", compute_capability="7.5"), "float32"),
        (dict(platform="gpu", compute_capability="9.0"), "bfloat16"),
        (dict(platform="gpu", compute_capability="10.0"), "bfloat16"),
        (dict(platform="gpu", compute_capability="gfx90a"), "bfloat16"),
        (dict(platform="tpu"), "bfloat16"),
    ],
)
def test_a_dtype_that_is_not_set_is_that_of_the_device(monkeypatch, device, dtype):
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(**device)])
    assert load().model.dtype is None and load(model__dtype="float32").model.dtype == "float32"
    for name, text in (("none", dtype), ("float32", "float32"), ("bfloat16", "bfloat16")):
        settings = load(model__dtype=name).model.to_dict()
        assert models.create(num_classes=3, **settings).dtype == text
    # A run of an earlier version, whose config says float32, may be continued.
    new, old = {"model.dtype": None}, {"model.dtype": "float32"}
    assert differences(new, old) == [] and differences(old, new) != []


def test_changing_the_optimizer_drops_unsupported_arguments():
    config = configs.load(HAN)
    configs.override(config, [("optimizer.b1", "0.8"), ("optimizer.learning_rate", "0.1")])
    # In any order: names are applied first.
    configs.override(config, [("optimizer.momentum", "0.9"), ("optimizer.name", "sgd")])
    assert config.optimizer.to_dict() == {
        "name": "sgd",
        "learning_rate": 0.1,
        "momentum": 0.9,
        "schedule": {"name": None},
        "clip_norm": None,
    }
    configs.override(
        config,
        [
            ("optimizer.schedule.name", "cosine_decay_schedule"),
            ("optimizer.schedule.alpha", "0.1"),
        ],
    )
    assert config.optimizer.schedule.to_dict() == {"name": "cosine_decay_schedule", "alpha": 0.1}


@pytest.mark.parametrize(
    ("spec", "settings", "message"),
    [
        ("configs/hann.py", {}, "unknown config 'hann': did you mean 'han'"),
        ("elsewhere/han.py", {}, "elsewhere/han.py: no such file"),
        (f"{HAN}:debgu", {}, "did you mean 'debug'"),
        (f"{HAN}:dataset=irmsa", {}, "dataset=irmsa: did you mean 'irmas'"),
        (f"{HAN}:window_s=long", {}, "window_s=long: expected float"),
        (HAN, {"trainin__batch_size": "4"}, "did you mean 'training.batch_size'"),
        (HAN, {"training__batchsize": "4"}, "did you mean 'training.batch_size'"),
        (HAN, {"training__batch_size": "many"}, "training.batch_size=many: expected int"),
        (HAN, {"model__filter": "3"}, "did you mean 'filters'"),
        (HAN, {"model__name": "convet"}, "unknown model 'convet': did you mean 'convnet'"),
        (HAN, {"optimizer__name": "adamm"}, "unknown optimizer 'adamm': did you mean 'adam'"),
        (
            HAN,
            {"optimizer__weight_decay": "1"},
            "unknown config key 'weight_decay' in the optimizer section (name 'adam')",
        ),
        (HAN, {"optimizer__nme": "adamw"}, "section (name 'adam'): did you mean 'name'"),
        (
            HAN,
            {"optimizer__schedule__name": "exponential_decay"},
            "schedule.decay_rate: missing, but exponential_decay requires it; set --config.optimi",
        ),
        (HAN, {"optimizer": "adam"}, "is a section"),
        (HAN, {"seed__x": "1"}, "seed is a single value"),
        (HAN, {"data__siez": "tiny"}, "did you mean 'size'"),
    ],
)
def test_errors_are_reported_in_one_line_with_a_suggestion(spec, settings, message):
    with pytest.raises(UserError) as caught:
        load(spec, **settings)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "unset"),
    [
        ("data.dir", "data", ["", "none"]),
        ("data.hop_s", 0.5, ["0", "0.0", "None"]),
        ("data.soundfont", "piano.sf2", ["", "none"]),
        ("data.stored", "12", ["", "none"]),
        ("evaluation.max_decay_db", 2.0, ["", "none"]),
        ("evaluation.max_decay_db", 0.0, ["none"]),
        ("evaluation.threshold", 0.25, ["0.0", "none"]),
        ("optimizer.clip_norm", 2.0, ["0", "None"]),
        ("optimizer.schedule.name", "cosine_decay_schedule", ["", "none"]),
        ("training.max_steps_per_epoch", 7, ["0", "none"]),
    ],
)
def test_optional_keys_are_set_and_unset_from_text(key, value, unset):
    config = configs.load(HAN)
    original = configs.flatten(config)
    assert original.get(key) is None
    for text in unset:
        configs.override(config, [(key, str(value))])
        actual = configs.flatten(config)[key]
        assert actual == value and type(actual) is type(value)
        configs.override(config, [(key, text)])
        configs.check_keys(config)
        assert differences(configs.flatten(config), original) == []


def test_boundaries_of_a_schedule_are_a_dict():
    config = configs.load(HAN)
    schedule = "optimizer.schedule"
    settings = [(f"{schedule}.name", "piecewise_constant_schedule")]
    configs.override(config, [*settings, (f"{schedule}.boundaries_and_scales", "{100: 0.1}")])
    flat = configs.flatten(config)
    assert flat[f"{schedule}.boundaries_and_scales.100"] == 0.1
    configs.check_keys(config)
    check_config(config)
    config = configs.load(HAN)
    configs.override(config, settings)
    with pytest.raises(UserError, match="boundaries_and_scales: missing; set it to a dict"):
        check_config(config)


def test_sounds_apply_only_to_wild_clips():
    for text in ("sounds=fluid", "size=full", "test_sounds=fluid"):
        with pytest.raises(UserError, match="dataset=irmas: sounds, .* only to gm_wild"):
            configs.load(f"configs/wild.py:dataset=irmas,{text}")


def test_the_papers_separators_are_trained_without_our_augmentation_and_average():
    for text, pitch in (("paper", 4.0), ("ablation=base", 0.0), ("ablation=augmented", 4.0)):
        config = load(f"configs/ligtenberg_unet.py:{text}")
        assert (config.augment.pitch_semitones, config.augment.gain_db) == (pitch, 0.0)
        assert config.data.remix == 0.0 and config.training.ema_decay is None
    default = load("configs/ligtenberg_unet.py")
    assert default.training.ema_decay and default.augment.gain_db and default.data.remix


def test_the_validation_split_of_han_is_by_song_or_random_over_clips():
    assert load().data.split_validation == "song"
    config = load(f"{HAN}:split_validation=random")
    check_config(config)
    for key, value, message in (
        ("data.split", "song", "with data.split=song, which divides windows; set it to song, or"),
        ("data.split_validation", "rand", "unknown data.split_validation 'rand'"),
    ):
        with pytest.raises(UserError, match=message):
            check_config(load(f"{HAN}:split_validation=random", **{key.replace(".", "__"): value}))


def test_warm_up_of_many_steps_is_valid():
    """The number of training steps is not known before the dataset is loaded."""
    config = load(
        f"{HAN}:debug",
        optimizer__schedule__name="warmup_cosine_decay_schedule",
        optimizer__schedule__warmup_steps="100",
    )
    check_config(config)


def test_optional_numbers_reject_other_text():
    with pytest.raises(UserError, match="training.max_steps_per_epoch=many: expected int"):
        load(training__max_steps_per_epoch="many")


def test_unset_keys_match_those_of_earlier_versions(tmp_path):
    current = configs.flatten(load())
    assert "" not in current.values()
    earlier = {"data.dir": "", "data.hop_s": 0.0, "optimizer.schedule.name": ""}
    earlier |= {"data.soundfont": ""}
    earlier |= {"training.max_steps_per_epoch": 0, "optimizer.clip_norm": 0.0}
    assert differences(current, current | earlier) == []
    assert differences(current, current | {"data.hop_s": 0.5}) == ["data.hop_s: 0.5 -> None"]
    (tmp_path / "old.py").write_text(
        "from configs import han\n\ndef get_config(text=''):\n"
        "    config = han.get_config(text)\n    config.data.hop_s = 0.0\n"
        "    config.optimizer.schedule.name = ''\n    return config\n"
    )
    assert configs.flatten(load(str(tmp_path / "old.py"))) == current


def test_differences_ignore_keys_that_are_not_compared():
    first, second = load(), load(data__dir="elsewhere", profile__num_steps="3")
    assert differences(configs.flatten(first), configs.flatten(second), configs.NOT_COMPARED) == []
    second = load(seed="1", optimizer__name="sgd")
    assert differences(configs.flatten(second), configs.flatten(first), configs.NOT_COMPARED) == [
        "optimizer.name: adam -> sgd",
        "seed: 0 -> 1",
    ]
