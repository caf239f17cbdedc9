"""Files of packaged systems: exact contents, damage, and folders that are not replaced."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from irec_jax.checkpoints import packaged, pretrained
from irec_jax.errors import UserError

PARAMS = {
    "Conv_0": {"kernel": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)},
    "Dense_0": {"bias": np.array([1e-3, 3.0], np.float32), "kernel": np.eye(2, dtype=np.float32)},
}
MODEL_STATE = {
    "batch_stats": {"norm": {"var": np.array([1e5, 2.0], np.float32), "count": np.int32(70_000)}}
}
SYSTEM = {"name": "tiny"}
#: File -> name of the damage -> its new content; None deletes the file.
DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "changed": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "missing": None,
}


def write(folder, *, params=PARAMS, card="# tiny\n", overwrite=False):
    parameters = packaged.encode_parameters(params, MODEL_STATE)
    packaged.write(folder, SYSTEM, parameters, card, overwrite=overwrite)
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_arrays_are_named_by_their_path_and_stored_in_float16(tmp_path):
    folder = write(tmp_path / "tiny")
    with np.load(folder / "parameters.npz", allow_pickle=False) as arrays:
        types = {name: str(arrays[name].dtype) for name in arrays.files}
    assert types == {
        "params/Conv_0/kernel": "float16",
        "params/Dense_0/bias": "float16",
        "params/Dense_0/kernel": "float16",
        # Beyond the range of float16.
        "batch_stats/norm/var": "float32",
        "batch_stats/norm/count": "int32",
    }
    packaged.verify(folder)
    params, model_state = packaged.read_variables(folder, (PARAMS, MODEL_STATE))
    np.testing.assert_allclose(
        params["Conv_0"]["kernel"], PARAMS["Conv_0"]["kernel"], rtol=2**-11, strict=True
    )
    np.testing.assert_array_equal(model_state["batch_stats"]["norm"]["var"], [1e5, 2.0])
    assert model_state["batch_stats"]["norm"]["count"] == 70_000
    # The same system gives the same files.
    assert contents(folder) == contents(write(tmp_path / "again"))


def test_checksums_are_those_of_sha256sum(tmp_path):
    folder = write(tmp_path / "tiny")
    checksums = json.loads((folder / "checksums.json").read_text())
    assert checksums == {
        name: hashlib.sha256(content).hexdigest()
        for name, content in contents(folder).items()
        if name != "checksums.json"
    }
    assert set(checksums) == {"system.json", "parameters.npz", "README.md"}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["system.json", "parameters.npz", "README.md", "checksums.json"])
def test_damaged_file_is_named(tmp_path, name, damage):
    file = write(tmp_path / "tiny") / name
    change = DAMAGES[damage]
    if change is None:
        file.unlink()
    else:
        file.write_bytes(change(file.read_bytes()))
    assert packaged.is_packaged(file.parent)
    with pytest.raises(UserError) as error:
        packaged.verify(file.parent)
    expected = "missing" if damage == "missing" else "damaged"
    assert str(error.value).startswith(f"{file}: {expected}")
    assert "restore the folder from a copy" in str(error.value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"Conv_0": {}}, "params/Dense_0/bias is (2,), but missing in the network"),
        (PARAMS | {"Dense_1": {"bias": np.zeros(1)}}, "params/Dense_1/bias is missing, but (1,)"),
        (PARAMS | {"Conv_0": {"kernel": np.zeros((3, 5))}}, "is (3, 4), but (3, 5) in the network"),
    ],
)
def test_arrays_of_another_network_are_named(tmp_path, params, message):
    folder = write(tmp_path / "tiny", params=PARAMS)
    expected = params if "Dense_0" in params else {"Conv_0": PARAMS["Conv_0"]}
    with pytest.raises(UserError) as error:
        packaged.read_variables(folder, (expected, MODEL_STATE))
    assert str(error.value).startswith(f"{folder / 'parameters.npz'}: ")
    assert message in str(error.value)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04 and more"])
def test_parameters_that_are_not_an_archive_are_reported(tmp_path, content):
    folder = write(tmp_path / "tiny")
    (folder / "parameters.npz").write_bytes(content)
    with pytest.raises(UserError, match="parameters.npz: damaged"):
        packaged.read_variables(folder, (PARAMS, MODEL_STATE))


def test_pickled_objects_are_not_loaded(tmp_path):
    folder = write(tmp_path / "tiny")
    np.savez(folder / "parameters.npz", **{"params/Conv_0/kernel": np.array([{}], object)})
    with pytest.raises(UserError, match="parameters.npz: damaged"):
        packaged.read_variables(folder, (PARAMS, MODEL_STATE))


def test_only_a_packaged_system_is_replaced_and_only_on_demand(tmp_path):
    folder = write(tmp_path / "tiny")
    before = contents(folder)
    with pytest.raises(UserError, match="contains a system; choose another folder or set --over"):
        write(folder, card="new")
    assert contents(folder) == before
    write(folder, card="new", overwrite=True)
    assert contents(folder)["README.md"] == b"new"
    (folder / "notes.txt").touch()
    with pytest.raises(UserError, match="contains other files"):
        write(folder, overwrite=True)
    with pytest.raises(UserError, match="is a file; choose a folder"):
        write(folder / "notes.txt", overwrite=True)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"tiny", "empty"}


@pytest.mark.parametrize("call", ["write_bytes", "rename"])
def test_failed_write_leaves_the_folder_as_it_was(tmp_path, monkeypatch, call):
    folder = write(tmp_path / "tiny")
    before, original, calls = contents(folder), getattr(Path, call), []

    def fail_at_the_second_call(self, *arguments):
        calls.append(self)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return original(self, *arguments)

    monkeypatch.setattr(Path, call, fail_at_the_second_call)
    with pytest.raises(UserError, match="tiny: cannot be written .No space left on device."):
        write(folder, card="new", overwrite=True)
    monkeypatch.undo()
    assert contents(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_systems_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrained, "FOLDER", tmp_path / "pretrained")
    with pytest.raises(UserError, match="no trained system comes with this version .* train one"):
        pretrained.find()
    with pytest.raises(UserError, match="^orchestra: no trained system comes with this version"):
        pretrained.resolve([], ["orchestra"])
    for name in ("orchestra", pretrained.DEFAULT):
        write(tmp_path / "pretrained" / name)
    (tmp_path / "pretrained" / "__pycache__").mkdir()
    assert pretrained.names() == sorted(["orchestra", pretrained.DEFAULT])
    assert pretrained.find().name == pretrained.DEFAULT
    orchestra, default = (pretrained.FOLDER / name for name in ("orchestra", pretrained.DEFAULT))
    assert pretrained.resolve([], ["orchestra"]) == {"orchestra": orchestra}
    assert pretrained.resolve([], []) == {pretrained.DEFAULT: default}
    assert pretrained.resolve(["runs/han"], ["orchestra"]) == {
        "runs/han": Path("runs/han"),
        "orchestra": orchestra,
    }
    with pytest.raises(UserError, match="unknown trained system 'orchester': did you mean 'orch"):
        pretrained.find("orchester")
    with pytest.raises(UserError, match="orchestra: named twice; list each system once"):
        pretrained.resolve([orchestra], ["orchestra"])


def test_systems_of_this_version_are_complete():
    """The default one is among them, if there are any."""
    assert not pretrained.names() or pretrained.DEFAULT in pretrained.names()
    for name in pretrained.names():
        packaged.verify(pretrained.find(name))
