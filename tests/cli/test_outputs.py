"""Output files of the commands replace no other files, and errors of one file end no run."""

import json
import os
import resource
import shutil

import call_trace
import pytest
import soundfile

from irec_jax import cli, preemption
from irec_jax.cli import output
from irec_jax.cli.console import run_command
from irec_jax.errors import UserError
from irec_jax.systems import recogniser as recogniser_module
from irec_jax.systems import separator as separator_module
from irec_jax.systems import separator_files


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def recogniser(workdir):
    return recogniser_module.load_recogniser(workdir)


@pytest.fixture
def work(recogniser, tmp_path, monkeypatch):
    """Change to a folder of clips; commands share a compiled recogniser."""
    monkeypatch.setattr(recogniser_module, "load_recogniser", lambda *_, **__: recogniser)
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(name, [0.1, -0.1] * 4000, 8000)
    return tmp_path


def call(*words):
    """Run `irec` in this process and return its exit code."""
    return run_command(lambda: cli.run(words))


def contents(folder="."):
    return {entry.name: open(entry.path, "rb").read() for entry in os.scandir(folder)}


def error_line(capsys):
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--json a.wav b.wav c.wav", "--json a.wav: expected a name that ends with .json or"),
        ("--json q.png --plot q.png a.wav", "--json q.png: expected a name"),
        ("--json notes.json a.wav", "notes.json: already exists; choose another file or set"),
        ("--plot notes.png a.wav", "notes.png: already exists"),
        ("--json linked.json a.wav a.json --overwrite", "linked.json: is an input file"),
        ("--json hard.json a.wav a.json --overwrite", "hard.json: is an input file"),
        ("--json W/system.json a.wav --overwrite", "system.json: is an input file"),
        ("--json folder.json a.wav --overwrite", "folder.json: is not a regular file"),
        ("--plot p.png a.wav b.wav", "p-b.png: already exists"),
        ("--json= a.wav", "--json: empty name; specify a file, or omit the option"),
        ("--segments= a.wav", "--segments: empty name"),
    ],
)
def test_other_files_are_not_replaced(work, workdir, capsys, words, message):
    shutil.copy("a.wav", "a.json")
    os.symlink("a.json", "linked.json")
    os.link("a.json", "hard.json")
    shutil.copytree(workdir, "W", ignore=shutil.ignore_patterns("checkpoints"))
    for name in ("notes.json", "notes.png", "p-b.png"):
        (work / name).write_text("mine")
    before, system = (contents(f) for f in (os.mkdir("x") or "x", "W"))
    files = {name: (work / name).read_bytes() for name in os.listdir() if os.path.isfile(name)}
    os.mkdir("folder.json")
    assert call("recognize", "--workdir", "W", *words.split()) == 1
    assert message in error_line(capsys)
    assert contents("x") == before and contents("W") == system
    assert files == {n: (work / n).read_bytes() for n in os.listdir() if os.path.isfile(n)}


def test_overwrite_replaces_existing_files(work, capsys):
    for name in ("r.json", "r.jsonl", "p-a.png"):
        (work / name).write_text("earlier")
    words = ["recognize", "--workdir", "W", "a.wav", "b.wav", "--plot", "p.png", "--overwrite"]
    for name in ("r.json", "r.jsonl"):
        assert call(*words, "--json", name) == 0
    assert len(json.loads((work / "r.json").read_text())["files"]) == 2
    assert len((work / "r.jsonl").read_text().splitlines()) == 2
    assert (work / "p-a.png").read_bytes()[:4] == b"\x89PNG"


def test_pictures_of_equal_names_are_different_files(work, capsys):
    paths = ["x/a.wav", "y/A.flac", "z/a-1.wav", "z/é.wav", "x/é.wav"]
    for path in paths:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        soundfile.write(path, [0.1, -0.1] * 4000, 8000)
    assert call("recognize", "--workdir", "W", *paths, "--plot", "p.png") == 0
    names = ["p-a-2.png", "p-A-3.png", "p-a-1.png", "p-é-1.png", "p-é-2.png"]
    assert {name for name in os.listdir() if name.endswith(".png")} == set(names)


def test_pictures_of_files_with_long_names(work):
    long = "é" * 120 + "z"
    for name in ("1", "2"):
        soundfile.write(f"{long}{name}.flac", [0.1, -0.1] * 4000, 8000)
    paths = [f"{long}1.flac", f"{long}2.flac", "a.wav"]
    assert call("recognize", "--workdir", "W", *paths, "--plot", "p.png") == 0
    pictures = {name for name in os.listdir() if name.endswith(".png")}
    short = "é" * 75
    assert pictures == {"p-a.png", f"p-{short}-1.png", f"p-{short}-2.png"}


def test_a_name_that_is_too_long_is_one_line(work, capsys):
    assert call("recognize", "--workdir", "W", "a.wav", "--json", f"{'n' * 251}.json") == 1
    assert "choose a shorter name" in error_line(capsys)


def test_any_error_of_a_file_is_one_line_and_the_others_go_on(
    work, recogniser, capsys, monkeypatch, tmp_path_factory
):
    temporary = tmp_path_factory.mktemp("tracebacks")
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    recognize, draw = (
        type(recogniser).recognize,
        cli.importlib.import_module("irec_jax.cli.recognize"),
    )
    seen = []

    def fail_for_b(self, file, **options):
        if file.name == "b.wav":
            raise AttributeError("'AudioStream' object\nhas no attribute 'rate'")
        return recognize(self, file, **options)

    def fail_for_c(result, path):
        seen.append([len(json.loads(line)) for line in open("r.jsonl")])
        if path.name == "p-c.png":
            raise MemoryError
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(type(recogniser), "recognize", fail_for_b)
    monkeypatch.setattr(draw, "_draw", fail_for_c)
    words = ["recognize", "--workdir", "W", "b.wav", "a.wav", "c.wav", "--plot", "p.png"]
    assert call(*words, "--json", "r.jsonl") == 1
    printed = capsys.readouterr()
    b, a, c, total = printed.err.splitlines()
    assert b.startswith("error: b.wav: failed unexpectedly (AttributeError: 'AudioStream' object ")
    assert a == "error: p-a.png: No space left on device" and "c.wav" in c and "MemoryError" in c
    assert total == "3 of 3 files failed"
    tracebacks = [path.read_text() for path in temporary.iterdir()]
    assert len(tracebacks) == 2 and all("Traceback" in text for text in tracebacks)
    assert all(str(path) in printed.err for path in temporary.iterdir())
    # Results are there although their pictures are not, each as soon as it is known.
    records = [json.loads(line) for line in (work / "r.jsonl").read_text().splitlines()]
    assert ["labels" in record for record in records] == [False, True, True]
    assert all("\n" not in record["error"] for record in records)
    assert [len(lengths) for lengths in seen] == [1, 2]
    assert [line.split()[0] for line in printed.out.splitlines()] == ["a.wav", "c.wav"]
    monkeypatch.setenv("IREC_DEBUG", "1")
    assert call("recognize", "--workdir", "W", "b.wav") == 1
    assert "Traceback" in capsys.readouterr().err and len(list(temporary.iterdir())) == 2


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [(KeyboardInterrupt, 130, "interrupted"), (preemption.Preempted, 75, "ended by SIGTERM")],
)
def test_an_interrupt_keeps_the_results(
    work, recogniser, capsys, monkeypatch, error, code, message
):
    recognize = type(recogniser).recognize

    def interrupt_at_c(self, file, **options):
        if file.name == "c.wav":
            raise error
        return recognize(self, file, **options)

    monkeypatch.setattr(type(recogniser), "recognize", interrupt_at_c)
    monkeypatch.setattr(output, "_WRITING_TIME", 1e-9)  # no second write before the end
    words = ["recognize", "--workdir", "W", "a.wav", "b.wav", "c.wav", "--json"]
    for name in ("r.json", "r.jsonl"):
        assert call(*words, name) == code
        assert capsys.readouterr().err == f"{message}; {name} holds the results so far\n"
    files = json.loads((work / "r.json").read_text())["files"]
    assert [record["file"] for record in files] == ["a.wav", "b.wav"]
    assert files == [json.loads(line) for line in (work / "r.jsonl").read_text().splitlines()]


def test_a_full_disk_leaves_complete_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    results = output.ResultFile(path, {})
    results.add({"file": "a.wav"})
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        with pytest.raises(UserError, match="cannot be written .* free space"):
            results.add({"file": "b.wav", "note": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    results.add({"file": "c.wav"})
    files = [json.loads(line)["file"] for line in path.read_text().splitlines()]
    assert files == ["a.wav", "c.wav"]


def test_result_file_is_complete_after_each_record_and_rarely_rewritten(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: clock[0])
    writes = []

    def slow_write(path, content):
        clock[0] += 1
        writes.append(len(json.loads(content)["files"]))
        path.write_bytes(content)

    monkeypatch.setattr(output, "write_bytes", slow_write)
    with output.ResultFile(tmp_path / "r.json", {"workdir": "w"}) as results:
        for i in range(100):
            results.add({"file": str(i)})
            clock[0] += 1
    content = json.loads((tmp_path / "r.json").read_text())
    assert content == {"workdir": "w", "files": [{"file": str(i)} for i in range(100)]}
    assert writes[0] == 1 and writes[-1] == 100 and len(writes) == 6


def test_full_disk_leaves_complete_lines(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    results = output.ResultFile(path, {})
    results.add({"file": "a"})
    path.unlink()
    os.symlink("/dev/full", path)
    with pytest.raises(UserError, match="r.jsonl: cannot be written"):
        results.add({"file": "b"})


def test_separate_goes_on_after_any_error(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.wav", "b.wav"):
        soundfile.write(name, [0.1, -0.1], 8000)

    def fail(file, *_, **__):
        raise ZeroDivisionError if file.name == "a.wav" else UserError("b.wav: damaged")

    monkeypatch.setattr(separator_module, "load_separator", lambda _: None)
    monkeypatch.setattr(separator_files, "separate_file", fail)
    assert call("separate", "a.wav", "b.wav", "--workdir", "W", "--out", "o") == 1
    a, b, _ = capsys.readouterr().err.splitlines()
    assert a.startswith("error: a.wav: failed unexpectedly (ZeroDivisionError)")
    assert b == "error: b.wav: damaged"


@pytest.mark.parametrize("command", ["debleed", "gallery"])
def test_unexpected_errors_name_the_command(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def fail(_):
        raise KeyError("key")

    monkeypatch.setattr(cli.importlib.import_module(f"irec_jax.cli.{command}"), "_parser", fail)
    monkeypatch.setattr(cli.importlib.import_module(f"irec_jax.cli.{command}"), "main", fail)
    assert call(command, "x") == 1
    error = error_line(capsys)
    assert f"irec {command}: failed unexpectedly (KeyError: 'key'); report it with" in error
    (saved,) = tmp_path.iterdir()
    assert str(saved) in error and "in fail" in saved.read_text()
