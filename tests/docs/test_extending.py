"""The steps of docs/extending.md, followed literally from an empty folder.

Blocks with a title become files, shell blocks are commands, other Python blocks are executed. The
commands train in this process; the one that starts with an assignment runs in a process of its own.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from conftest import SMALL, call

import data_builders
from irec_jax import audio, frontends, models
from irec_jax.errors import UserError
from irec_jax.files import read_json

PAGE = Path(__file__).parents[2] / "docs/extending.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', re.M | re.S)
#: Title of the block that is not a file.
ROW = "row of COUNTS"
#: Overrides of every training: one step, and nothing that does not depend on what is new.
ONE_STEP = ["--config.training.num_epochs=1", "--config.training.max_steps_per_epoch=1"]
ONE_STEP += ["--config.evaluation.baselines=False"]
MODULES = ("nets", "features", "takes", "takes.builder")


def blocks(heading=None):
    """Return (language, title, text) of the blocks below a heading; of all blocks for None."""
    text = PAGE.read_text()
    if heading is not None:
        text = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return BLOCK.findall(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder that is on the path, as with `python -m`, in which the model is trained."""
    folder = tmp_path_factory.mktemp("extending")
    tone = 0.5 * np.sin(np.arange(44_100) / 9).astype(np.float32)
    audio.write(folder / "demo.wav", tone, 22_050)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            follow(folder, "A model")
        (folder / "printed.txt").write_text(printed.getvalue())
        yield folder
    data_builders.DATASETS.pop("takes", None)
    for name in MODULES:
        sys.modules.pop(name, None)


def follow(folder, heading):
    """Follow the steps of a section."""
    for language, title, text in blocks(heading):
        if title:
            path = folder / title
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        elif language == "bash":
            for line in text.replace("\\\n", " ").splitlines():
                run(shlex.split(line))
        else:
            exec(compile(text, heading, "exec"), {})


def run(words):
    if "=" in words[0]:
        name, _, value = words[0].partition("=")
        program = Path(sys.executable).with_name(words[1])
        subprocess.run([program, *words[2:]], env=os.environ | {name: value}, check=True)
        return
    assert words[:3] == ["python", "-m", "irec_jax.main"]
    training = [] if "--dry-run" in words else ONE_STEP
    # The network of Han et al. compiles for half a minute.
    network = SMALL if "--config=takes_han.py:debug" in words else []
    assert call(*words[3:], *training, *network) == 0


def test_model(folder):
    assert "parameters: 34572" in (folder / "printed.txt").read_text()
    system = read_json(folder / "runs/attention/system.json")
    assert system["config"]["model"]["name"] == "nets:AttentionNet"
    assert read_json(folder / "runs/attention/report.json")["classes"] == system["classes"]


def test_first_block_names_the_model():
    language, _, text = blocks()[0]
    assert language == "python" and "nets:AttentionNet" in text


def test_front_end(folder):
    follow(folder, "A front end")
    system = read_json(folder / "runs/mfcc/system.json")
    assert system["frontend"]["name"] == "features:Mfcc"
    mfcc = frontends.create("features:Mfcc", num_coefficients=13)
    log_mel = frontends.create("log_mel")
    noise = np.random.default_rng(0).uniform(-1, 1, (2, 22_050)).astype(np.float32)
    expected = scipy.fft.dct(np.asarray(log_mel(noise)), norm="ortho")[..., :13]
    np.testing.assert_allclose(mfcc(noise), expected, atol=1e-3)
    assert mfcc(noise).shape[1:] == mfcc.output_shape(22_050)


def test_dataset(folder, capfd):
    follow(folder, "A dataset")
    system = read_json(folder / "runs/takes_han/system.json")
    assert system["dataset"]["name"] == "takes" and not system["dataset"]["rendered"]
    assert system["classes"] == ["flute", "violin"]
    report = read_json(folder / "runs/takes_han/report.json")
    assert report["data"]["test"] == report["data"]["test"] | {"num_clips": 4, "num_songs": 1}
    assert call("--config=takes_han.py:debug") == 1
    assert "takes: no path given" in capfd.readouterr().err


def test_metric(folder, capsys):
    follow(folder, "A metric")
    assert re.search(r"coverage error: \d+\.\d\d of 11 classes", capsys.readouterr().out)


def test_optimiser(folder, capsys):
    follow(folder, "An optimiser")
    printed = capsys.readouterr().out
    assert "name: lion" in printed and "weight_decay: 0.001" in printed


def test_contributed_model(folder, monkeypatch):
    ((_, title, text),) = blocks("Contributing a system to irec-jax")
    assert title == ROW
    name, arguments, shape, expected = eval(text)
    monkeypatch.setitem(models.MODELS, name, models.find("nets:AttentionNet"))
    model, features = models.create(name, **arguments), jnp.zeros((1, *shape))
    variables = jax.eval_shape(
        lambda key: model.init(key, features, train=False), jax.random.key(0)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == expected


def test_every_section_is_followed():
    tested = re.findall(r'(?:follow\(folder, |blocks\()"([^"]+)"\)', Path(__file__).read_text())
    assert tested == re.findall(r"^## (.*)$", PAGE.read_text(), re.M)


def test_unusable_classes_are_reported_in_one_line(folder):
    for create, name, message in (
        (models.create, "nest:AttentionNet", "No module named 'nest'; install the package, or"),
        (models.create, "nets:Attention", "expected a subclass of Module, got None"),
        (models.create, "os:system", "expected a subclass of Module, got <built-in"),
        (models.create, ":AttentionNet", "Empty module name; install the package, or"),
        (frontends.create, "nets:AttentionNet", "expected a subclass of FrontEnd, got <class"),
    ):
        with pytest.raises(UserError, match=re.escape(message)) as error:
            create(name)
        assert "\n" not in str(error.value)
