"""Commands, Python blocks and configs in README.md and docs/ work as they are shown.

Commands run in this process, in a folder that holds the files which the pages name. Trainings are
dry runs; what cannot run here (jobs, installations, studies, benchmarks) is checked up to the point
where the work would start. A command that no function of `PROGRAMS` handles is an error.
"""

import importlib
import pkgutil
import re
import shlex
import shutil
import subprocess
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import call_trace
import multitrack_fixture
import musdb18_fixture
import numpy as np
import pytest
import soundfile
import yaml

import data_builders
from irec_jax import cli, config, main, remote
from irec_jax.cli.train import parse_overrides
from irec_jax.errors import UserError
from irec_jax.files import read_json, write_json
from irec_jax.labels import STREAMS
from irec_jax.systems.export import export

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
#: Pages that another test follows step by step, in the files that they tell the reader to write.
ELSEWHERE = {"extending.md": "tests/docs/test_extending.py"}
PAGES = [
    page
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if page.name not in ELSEWHERE
]
#: Languages of code blocks. "text" is output and file layouts.
LANGUAGES = ("bash", "python", "json", "text", "yaml")
BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\S*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
INLINE_COMMAND = re.compile(r"`((?:irec|python -m) [^`]*)`")
#: A page whose table holds commands; elsewhere, the text abbreviates them.
TABLE_OF_COMMANDS = ROOT / "docs/papers/index.md"
INLINE_CONFIG = re.compile(r"`(configs/\w+\.py[^`]*)`")
RATE_HZ = 22_050


class Block(NamedTuple):
    """A code block of a page; `line` is the number of its first line."""

    page: Path
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page."""
    text = page.read_text()
    for match in BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, match["language"], textwrap.dedent(match["text"]))


def commands(block: Block) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command of a shell block."""
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                yield tuple(words)
                words = []


ALL_BLOCKS = [block for page in PAGES for block in blocks(page)]
#: Words of each different command -> where it is shown first.
COMMANDS: dict[tuple[str, ...], str] = {}
for _block in ALL_BLOCKS:
    if _block.language == "bash":
        for _words in commands(_block):
            COMMANDS.setdefault(_words, _block.place)
for _command in INLINE_COMMAND.findall(TABLE_OF_COMMANDS.read_text()):
    COMMANDS.setdefault(tuple(shlex.split(_command)), "docs/papers/index.md")
INLINE_CONFIGS = sorted(
    {name for page in PAGES for name in INLINE_CONFIG.findall(page.read_text())}
)


# Files that the pages name


def write_tones(path: Path, seed: int, *, seconds: float = 1.5) -> None:
    """Write a stereo tone with noise; the pitch depends on the seed."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * RATE_HZ))[:, None] / RATE_HZ
    tones = 0.3 * np.sin(2 * np.pi * 220 * (1 + seed) * time_s * np.array([1.0, 1.01]))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tones + 0.02 * rng.normal(size=tones.shape), RATE_HZ)


@pytest.fixture(scope="module")
def example_folder(tmp_path_factory) -> Path:
    """Return a folder with the files that the pages name, and tiny untrained systems."""
    folder = tmp_path_factory.mktemp("documented")
    for seed, name in enumerate(
        (
            *("song.mp3", "song.wav", "demo.wav", "ALBUM/one.wav", "ALBUM/two.flac"),
            "STEMS/song/rest.wav",
            *(f"SESSION/{track}.wav" for track in ("violin", "cello", "flute")),
            *(f"MY_PIECES/duo/{track}.wav" for track in ("violin-1", "violin-2", "mix")),
            *(f"MY_SOUNDS/{name}/{i}.wav" for name in ("kick", "snare") for i in range(4)),
            *(f"MY_SONGS/train/song_{i}/{stream}.wav" for i in range(2) for stream in STREAMS),
        )
    ):
        write_tones(folder / name, seed)
    rows = [f"MY_SOUNDS/{name}/{i}.wav,{name}\n" for name in ("kick", "snare") for i in range(4)]
    (folder / "sounds.csv").write_text("".join(["file,labels\n", *rows]))
    for path in ("MUSDB18/train", "MUSDB18/test", "MUSDB18_7/train"):
        track = folder / path / f"{path.replace('/', ' - ')}.stem.mp4"
        musdb18_fixture.write_stem_file(track, musdb18_fixture.stems(path).values())
    (folder / "DOWNLOADS").mkdir()
    for name in ("01_KickIn", "02_LeadVox", "03_ElecGtr1"):
        write_tones(folder / f"MIXING_SECRETS/ABand_ASong_Full/{name}.wav", len(name))
    multitrack_fixture.write_medleydb_piece(
        folder / "MEDLEYDB/Audio", "AnArtist_ASong", [("piano", ("piano",)), ("flute", ("flute",))]
    )
    call_trace.write_separator(folder / "runs/ligtenberg_unet")
    for run in ("han", "my_sounds", "my_pieces", "three/seed_0", "three/seed_1", "three/seed_2"):
        recogniser = call_trace.write_recogniser(folder / "runs" / run)
        system = read_json(recogniser / "system.json")
        system["thresholds"] |= {"validation": 0.4, "validation_per_class": [0.4, 0.6]}
        write_json(recogniser / "system.json", system)
    export(folder / "runs/han", folder / "MY_RECOGNISER")
    return folder


@pytest.fixture
def work(example_folder, tmp_path, monkeypatch) -> Path:
    """Change to a copy of the folder."""
    folder = tmp_path / "work"
    shutil.copytree(example_folder, folder)
    monkeypatch.chdir(folder)
    return folder


# Programs


class Reached(Exception):
    """The point where the long part of a command would start."""


def run_command(words: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command, or check it as far as possible here."""
    words = [word.replace("gs://BUCKET/", "bucket/") for word in words]  # there is none here
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):  # environment variables of this command
        words.pop(0)
    if words[0] not in PROGRAMS:
        pytest.fail(f"no function runs {words[0]!r}: add one to PROGRAMS, or correct the page")
    PROGRAMS[words[0]](words[1:], monkeypatch)


def run_uv(words, monkeypatch):
    """Run the command of `uv run` without uv; its options name extras and groups of the project."""
    action, *words = words
    assert action == "run"
    while words[0].startswith("--"):
        option, name = words.pop(0), words.pop(0)
        names = {
            "--extra": PROJECT["project"]["optional-dependencies"],
            "--group": PROJECT["dependency-groups"],
        }
        assert name in names[option]
    run_command(words, monkeypatch)


def run_pip(words, monkeypatch):
    """Check that an installation names this project and its requirements."""
    groups = [*PROJECT["dependency-groups"].values(), PROJECT["project"]["dependencies"]]
    known = {re.match(r"[\w-]+", name)[0] for group in groups for name in group}
    # Tools that the project does not need, and packages for URLs.
    known |= {"uv", "tensorboard", "xprof", *remote.PACKAGES.values()}
    action, *words = words
    assert action == "install"
    for word in words:
        if match := re.fullmatch(r"\.(\[(.*)\])?", word):
            extras = match[2].split(",") if match[2] else ()
            assert set(extras) <= PROJECT["project"]["optional-dependencies"].keys()
        else:
            assert word in known or word in ("-e", "--no-deps"), word


def run_python(words, monkeypatch):
    """Run `python -m MODULE`."""
    flag, module, *words = words
    assert flag == "-m"
    if module == "irec_jax.main":
        train(words)
    elif module.startswith("irec_jax.benchmarks."):
        run_benchmark(module, words, monkeypatch)
    elif module == "data_builders.rendering.demo":
        Path(words[0]).unlink()  # written for the other commands
        assert importlib.import_module(module).main(words) == 0
    else:
        pytest.fail(f"no function runs python -m {module}")


def train(words: Sequence[str]) -> None:
    """Print the config and the shapes of a training."""
    main.main([*words, "--dry-run"])


def run_benchmark(module, words, monkeypatch):
    """Parse the options of a benchmark."""
    from irec_jax.benchmarks import timing

    parse = timing.parse_options

    def parse_and_stop(*arguments, **options):
        parse(*arguments, **options)
        raise Reached

    monkeypatch.setattr(timing, "parse_options", parse_and_stop)
    with pytest.raises(Reached):
        importlib.import_module(module).main(words)


def run_irec(words, monkeypatch):
    """Run a command of `irec`: datasets are described, studies planned, trainings dry runs."""
    command, *rest = words
    if command == "train":
        train(["--config", *rest])
    elif command == "study":
        plan_study(words, monkeypatch)
    else:
        if command == "build":
            monkeypatch.setattr(data_builders, "prepare", data_builders.builder)
        elif command == "fetch-sounds":
            from irec_jax.cli import fetch_sounds

            monkeypatch.setattr(fetch_sounds, "_find", lambda name, folder: folder)  # all are there
        elif command == "separate":
            shutil.rmtree("STEMS")  # written for the other commands
        elif command == "export":
            shutil.rmtree(words[words.index("--out") + 1])  # written for the other commands
        elif command == "gallery" and "--dataset" not in words:
            words = [*words, "--dataset=folder", "--path=MY_SOUNDS"]  # nothing to render
        assert cli.run(words) == 0


def plan_study(words, monkeypatch):
    """Check the options of a study, and the configs of its first runs."""
    from irec_jax.studies import crosstalk, runs

    def resolve_runs(study, planned, summary, todo=None):
        for run in planned:
            runs.resolve(run)
        raise Reached

    def describe_pieces(name, split, **options):
        data_builders.describe(name)
        raise Reached

    monkeypatch.setattr(runs.Study, "execute", resolve_runs)
    monkeypatch.setattr(crosstalk, "load_pieces", describe_pieces)
    with pytest.raises(Reached):
        cli.run(words)


def run_job(words, monkeypatch):
    """Check a script of launch/, and do a dry run of its training."""
    position = next(i for i, word in enumerate(words) if word.startswith("launch/"))
    options, (script, *rest) = words[:position], words[position:]
    assert all(re.fullmatch(r"--[a-z-]+=\S+", option) for option in options)
    subprocess.run(["bash", "-n", ROOT / script], check=True)
    if Path(script).name == "slurm_array.sh":
        run_irec([*rest, "--task=1/2"], monkeypatch)
    elif Path(script).name != "tpu_pod.sh" or rest[0] == "start":
        num_arguments = {"local.sh": 1, "slurm.sh": 0, "tpu_pod.sh": 3}[Path(script).name]
        train(rest[num_arguments:])
    else:
        assert f"    {rest[0]})" in (ROOT / script).read_text()


def run_kubectl(words, monkeypatch):
    """Check a Kubernetes job, and do a dry run of its training."""
    apply, flag, file = words
    assert (apply, flag) == ("apply", "-f")
    *_, job = yaml.safe_load_all((ROOT / file).read_text())
    if job["kind"] == "JobSet":
        job = job["spec"]["replicatedJobs"][0]["template"]
    (script,) = job["spec"]["template"]["spec"]["containers"][0]["args"]
    train(shlex.split(script.partition("irec_jax.main")[2]))


def run_docker(words, monkeypatch):
    """Check the file of an image and its extra."""
    build, flag, file, *options = words
    assert (build, flag) == ("build", "-f") and (ROOT / file).exists()
    extras = [word.removeprefix("EXTRA=") for word in options if word.startswith("EXTRA=")]
    assert set(extras) <= PROJECT["project"]["optional-dependencies"].keys()


def run_pytest(words, monkeypatch):
    """Check that the test files exist."""
    assert all((ROOT / word).exists() for word in words)


def run_mkdocs(words, monkeypatch):
    """Check that the command is one of the two for this site; CI builds it."""
    assert words in (["build", "--strict"], ["serve"])


def run_tensorboard(words, monkeypatch):
    """Check that the log folder belongs to a run."""
    flag, folder = words
    assert flag == "--logdir" and folder.startswith("runs/")


def run_export(words, monkeypatch):
    """Check the form of an assignment."""
    assert all(re.fullmatch(r"[A-Z_]+=\S+", word) for word in words)


PROGRAMS = {
    "docker": run_docker,
    "export": run_export,
    "irec": run_irec,
    "kubectl": run_kubectl,
    "launch/local.sh": lambda words, patch: run_job(["launch/local.sh", *words], patch),
    "launch/tpu_pod.sh": lambda words, patch: run_job(["launch/tpu_pod.sh", *words], patch),
    "mkdocs": run_mkdocs,
    "pip": run_pip,
    "pytest": run_pytest,
    "python": run_python,
    "sbatch": run_job,
    "tensorboard": run_tensorboard,
    "uv": run_uv,
}


# Tests


@pytest.mark.parametrize("words", [pytest.param(w, id=shlex.join(w)) for w in COMMANDS])
def test_command(words, work, monkeypatch):
    """A command that a page shows runs."""
    run_command(words, monkeypatch)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_blocks(page, work):
    """The Python blocks of a page run one after the other."""
    namespace: dict = {}
    for block in blocks(page):
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), namespace)


@pytest.mark.parametrize("text", INLINE_CONFIGS)
def test_config(text):
    """A config that the text of a page names can be loaded, with its overrides."""
    path, *overrides = shlex.split(text)
    resolved = config.load(path)
    config.override(resolved, parse_overrides(overrides))
    config.check_keys(resolved)


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("make everything", pytest.fail.Exception),
        ("irec recogniz song.mp3", SystemExit),
        ("irec recognize song.mp3 --workdir runs/han --plott out.png", SystemExit),
        ("irec recognize other.mp3 --workdir runs/han", UserError),
        ("irec study goel --slow", SystemExit),
        ("python -m irec_jax.main --config=configs/han.py --config.training.epochs=3", UserError),
        ("python -m irec_jax.benchmarks.unet --layers 3", SystemExit),
        ("pip install .[gpu]", AssertionError),
        ("pip install librosaa", AssertionError),
    ],
)
def test_mistake_fails(line, error, work, monkeypatch):
    """A mistake in a page is an error here."""
    with pytest.raises(error):
        run_command(shlex.split(line), monkeypatch)


def test_languages_of_blocks():
    """Every block names its language, and commands are in shell blocks, where they are tested."""
    for block in ALL_BLOCKS:
        assert block.language in LANGUAGES, block.place
        if block.language != "bash":
            shown = re.findall(r"^(?:\$|irec |python -m |uv run ).*", block.text, re.M)
            assert not shown, f"{block.place}: {shown[0]}"


def test_pages_with_tests_of_their_own():
    """A page that is left out here has another test."""
    for page, test in ELSEWHERE.items():
        assert not (ROOT / "docs" / page).exists() or (ROOT / test).exists()


def test_api_pages_are_complete():
    """Every package and module at the top of irec_jax is on a page of the API reference."""
    text = "\n".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    shown = set(re.findall(r"^::: irec_jax\.(\w+)", text, re.M))
    names = {module.name for module in pkgutil.iter_modules([ROOT / "irec_jax"])}
    assert names - shown == set()
