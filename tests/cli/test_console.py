"""Error and interrupt handling shared by all commands."""

import gc
import os
import signal
import subprocess
import sys
import time
import types

import pytest

from irec_jax import cli
from irec_jax.cli.console import named_arguments, run_command, use_compilation_cache
from irec_jax.errors import UserError


@pytest.mark.parametrize(("target", "code"), [("/dev/full", 1), ("pipe", 141)])
def test_output_that_cannot_be_written_at_the_end_is_one_line(target, code):
    program = (
        "from irec_jax.cli.console import exit_process, run_command\n"
        "import time; time.sleep(0.5)\n"
        "exit_process(run_command(lambda: print('done')))"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", program]
    if target == "pipe":
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        process.stdout.close()
        assert process.stderr.read() == "" and process.wait() == code
        return
    with open(target, "w") as full:
        result = subprocess.run(
            command, env=environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert result.returncode == code
    assert result.stderr == "error: irec: No space left on device\n"


def test_interrupt_in_a_garbage_collector_callback_is_not_lost(capsys):
    interrupted = []

    def callback(*_):  # Python ignores exceptions raised here
        if not interrupted:
            interrupted.append(True)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)  # the interrupt arrives here

    def main():
        gc.callbacks.append(callback)
        gc.collect()
        time.sleep(5)
        return 0

    try:
        assert run_command(main) == 130
    finally:
        gc.callbacks.remove(callback)
    assert capsys.readouterr().err.startswith("interrupted")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (UserError("x.wav: no such file"), "error: x.wav: no such file\n"),
        (OSError(28, "No space left on device", "y.wav"), "error: y.wav: No space left"),
    ],
)
def test_errors_are_reported_in_one_line(capsys, error, message):
    def main():
        raise error

    assert run_command(main) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(message) and printed.count("\n") == 1


def test_compiled_programs_are_kept(tmp_path):
    """A second process reads the program of the first one; a cut-off entry is compiled again."""
    code = """
import sys
from irec_jax.cli.console import use_compilation_cache
use_compilation_cache()
import jax, jax.monitoring
hits = []
jax.monitoring.register_event_listener(
    lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None
)
total = jax.jit(lambda x: (x * 2).sum())(jax.numpy.ones(3))
print(float(total), len(hits) > 0)
"""
    environment = {name: value for name, value in os.environ.items() if "CACHE" not in name} | {
        "XDG_CACHE_HOME": str(tmp_path)
    }

    def run():
        process = [sys.executable, "-c", code]
        done = subprocess.run(process, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert run() == ["6.0", "False"]
    assert run() == ["6.0", "True"]
    entries = list((tmp_path / "irec-jax" / "compiled").glob("*/*-cache"))
    assert entries
    for entry in entries:
        entry.write_bytes(entry.read_bytes()[:20])
    assert run() == ["6.0", "False"]


def test_folder_of_the_user_for_compiled_programs_is_kept(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "theirs")
    use_compilation_cache()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "theirs"


def test_compiled_programs_are_not_kept_where_no_folder_can_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    use_compilation_cache()
    assert "JAX_COMPILATION_CACHE_DIR" not in os.environ


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "x.py"], "interrupted; run the same command again to continue\n"),
        (["export", "x"], "interrupted; run the same command again to start over\n"),
        (["separate", "x"], "interrupted; the results of finished files are kept\n"),
        (["train", "--help"], "interrupted\n"),
    ],
)
def test_interrupt_says_what_can_be_continued(capsys, monkeypatch, words, expected):
    def interrupt(words):
        raise KeyboardInterrupt

    module = types.SimpleNamespace(main=interrupt)
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)
    assert run_command(lambda: cli.run(words)) == 130
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("hop_length=9: expected 1 to 8", "--hop-length=9: expected 1 to 8"),
        ("unknown path 'x': known: y", "unknown --path 'x': known: y"),
        ("folder: no path given; set path to a folder", "folder: no path given; set --path to a"),
        ("a/path: no such path=1 of path", "a/path: no such --path=1 of path"),
        ("x: too short; expected 9, or a smaller hop_length", "x: .*, or a smaller --hop-length$"),
        ("hop_length x: empty folder", "--hop-length x: empty folder"),
        ("x: full; free some space or set path to y", "x: full; free some space or set --path to"),
        ("/home/hop_length=3/path: missing", "^/home/hop_length=3/path: missing"),
    ],
)
def test_errors_name_options(message, expected):
    options = {"path": "--path", "hop_length": "--hop-length"}
    with pytest.raises(UserError, match=expected), named_arguments(options):
        raise UserError(message)


def test_files_that_look_like_options_are_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.wav").touch()
    with pytest.raises(SystemExit):
        cli.run(["label", "-dash.wav", "--out=x"])
    assert "for the file -dash.wav write ./-dash.wav" in capsys.readouterr().err


def test_version(capsys):
    with pytest.raises(SystemExit) as error:
        cli.run(["--version"])
    assert error.value.code == 0 and capsys.readouterr().out.startswith("irec-jax ")


def test_help_of_studies_imports_no_library():
    """The help of a study appears at once; it names rows of that study."""
    code = """
import contextlib, sys
from irec_jax import cli, studies
for name in studies.STUDIES:
    with contextlib.suppress(SystemExit):
        cli.run(["study", name, "--help"])
print([name for name in ("jax", "sklearn", "matplotlib", "tensorflow") if name in sys.modules])
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.endswith("\n[]\n"), result.stderr
    printed = " ".join(result.stdout.split())
    assert "such as relu,window" in printed and "tables II to IX of Goel" in printed
