"""The command that trains a config gives this config again."""

import shlex

import pytest

from irec_jax import config as configs
from irec_jax.cli.train import parse_overrides
from irec_jax.config.command import training_command


@pytest.mark.parametrize(
    ("name", "arguments", "overrides"),
    [
        ("han", "", []),
        ("han", "activation=relu,window_s=3.0,debug", [("optimizer.name", "adamw")]),
        ("han", "dataset=folder", [("data.path", "my sounds"), ("data.classes", "('a','b c')")]),
        ("goel_rnn", "cell=gru,split=window", [("model.hidden", "(50, 20)")]),
        ("seipel", "dataset=multitrack,frames=16", [("data.path", "MY_PIECES")]),
        ("ligtenberg_unet", "dataset=musdb18", [("data.path", "MY_SONGS")]),
        ("vazonis_lstm", "paper", [("optimizer.schedule.name", "cosine_decay_schedule")]),
    ],
)
def test_command_gives_the_config(name, arguments, overrides):
    config = configs.load(f"configs/{name}.py:{arguments}")
    configs.override(config, overrides)
    command = training_command(name, config.to_dict())
    assert command is not None
    _, _, spec, *options = shlex.split(command)
    resolved = configs.load(spec)
    configs.override(resolved, parse_overrides(options))
    assert configs.flatten(resolved) == configs.flatten(config)


def test_configs_that_no_command_gives():
    config = configs.load("configs/han.py").to_dict()
    assert training_command("mine", config) is None
    # Bags are an argument of the config file.
    bags = configs.load("configs/seipel.py:instances=3").to_dict()
    assert training_command("seipel", bags) is None
    assert training_command("han", config | {"data": {}}) is None
