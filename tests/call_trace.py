"""Print the project files that a song and a clip pass through: `python tests/call_trace.py`.

Runs `irec separate song.wav` and `irec recognize clip.wav` in this process under a profiler, with
tiny untrained systems in a temporary folder, and prints the files for each command.

A file counts once if one of its functions is called, from the command's arguments to its output
(`irec_jax.cli.run`), in any thread. Imports, with all functions that they call, and bodies of
classes do not count, nor does code that dataclasses generate. Each of the packages dsp, frontends,
models and kernels counts as one file. Files in brackets are entered only while the workdir is being
loaded; the others are the path of the audio.
"""

import json
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from inspect import CO_NEWLOCALS
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("dsp", "frontends", "models", "kernels")
LOADERS = ("load_separator", "load_recogniser")


def trace(function: Callable[[], object]) -> tuple[set[str], set[str]]:
    """Return the files entered by a call: all, and those entered outside of `LOADERS`."""
    entered: set[str] = set()
    on_path: set[str] = set()
    depths = threading.local()  # nesting of loaders and imports

    def profile(frame, event, _) -> None:
        code, change = frame.f_code, {"call": 1, "return": -1}.get(event, 0)
        if code.co_name in LOADERS:
            depths.loader = getattr(depths, "loader", 0) + change
        elif code.co_name == "<module>":
            depths.module = getattr(depths, "module", 0) + change
        # Class bodies do not have CO_NEWLOCALS.
        if event == "call" and code.co_flags & CO_NEWLOCALS and not getattr(depths, "module", 0):
            entered.add(code.co_filename)
            if not getattr(depths, "loader", 0):
                on_path.add(code.co_filename)

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return _project_files(entered), _project_files(on_path)


def _project_files(paths: set[str]) -> set[str]:
    """Return paths relative to the project, packages of `PACKAGES` as one."""
    files = set()
    for folder in ("irec_jax", "data_builders"):
        for path in map(Path, paths):
            if path.is_relative_to(ROOT / folder):
                parts = path.relative_to(ROOT).parts
                files.add("/".join(parts[:2] if parts[1] in PACKAGES else parts))
    return files


def write_separator(folder: Path) -> Path:
    """Write the workdir of an untrained separator of vocals and other."""
    from irec_jax.tasks import create_separation

    frontend = dict(frame_length=256, hop_length=64, num_bins=128, num_frames=32)
    model = dict(filters=[2, 2], kernels=[3, 3], strides=[2, 2], dilations=[1, 1], bottleneck=[4])
    settings = dict(
        stems=["drums", "bass", "other", "vocals"],
        target=["vocals", "other"],
        sample_rate_hz=8000,
        window_s=0.256,
        frontend=dict(name="spectrogram_db") | frontend,
    )
    config = dict(
        model=dict(name="unet", output="attenuation") | model,
        loss=dict(name="mean_absolute_error", domain="amplitudes", l2=0.0),
        augment={},
    )
    system = dict(task="separation", name="tiny", target_name="vocals_other", hop_s=0.128)
    config_of_system = config | dict(evaluation=dict(griffin_lim_iterations=5))
    return write_workdir(
        folder,
        create_separation(**settings, **config),
        settings | system | dict(post_db=-30.0, config=config_of_system),
    )


def write_recogniser(
    folder: Path, *, aggregation: str = "s2", threshold: float = 0.5, seed: int = 0, **changes
) -> Path:
    """Write the workdir of an untrained recogniser, by default of two classes.

    Args:
        folder: the workdir.
        aggregation, threshold: its clip score.
        seed: seed of the parameters.
        changes: `classes`, `sample_rate_hz` or `window_s`.
    """
    from irec_jax.tasks import create_recognition

    settings = dict(
        classes=["pia", "vio"],
        sample_rate_hz=8000,
        window_s=0.5,
        frontend=dict(name="log_mel", frame_length=512, hop_length=256, num_mels=32),
    )
    settings |= changes
    config = dict(
        model=dict(name="convnet", filters=(2, 4), dense=8),
        loss=dict(name="binary_cross_entropy"),
        augment={},
    )
    hop_s = settings["window_s"] / 2
    system = dict(task="recognition", name="tiny", hop_s=hop_s, aggregation=aggregation)
    system["max_decay_db"] = None
    return write_workdir(
        folder,
        create_recognition(**settings, **config),
        settings | system | dict(thresholds={"fixed": threshold}, config=config | dict(data={})),
        seed,
    )


def write_workdir(folder: Path, task, system: dict, seed: int = 0) -> Path:
    """Write the workdir of an untrained system with this `system.json`."""
    import jax
    import optax

    from irec_jax.checkpoints import state
    from irec_jax.checkpoints.storage import Checkpoints
    from irec_jax.checkpoints.workdir import write_system

    params, model_state = task.init(jax.random.key(seed))
    store = Checkpoints(folder / "checkpoints")
    initial = state.create(params, model_state, optax.sgd(0.1), (), 0)
    store.save(jax.device_get(initial), {"history": []}, 0.0)
    store.close()
    write_system(folder, json.loads(json.dumps(system)))
    return folder


def write_song(path: Path) -> Path:
    """Write two seconds of stereo tones with noise."""
    rng = np.random.default_rng(0)
    time_s = np.arange(2 * 44_100)[:, None] / 44_100
    tones = 0.3 * np.sin(2 * np.pi * np.array([440, 660]) * time_s)
    soundfile.write(path, tones + 0.01 * rng.normal(size=tones.shape), 44_100)
    return path


def trace_commands(folder: Path) -> dict[str, tuple[set[str], set[str]]]:
    """Return the files of `separate` and `recognize`; see `trace`."""
    from irec_jax import cli

    separator, recogniser = write_separator(folder / "s"), write_recogniser(folder / "r")
    song = write_song(folder / "song.wav")
    commands: dict[str, Sequence] = {
        "separate": [song, "--workdir", separator, "--out", folder / "stems"],
        "recognize": [song, "--workdir", recogniser],
    }
    return {
        name: trace(lambda name=name, words=words: cli.run([name, *words]))
        for name, words in commands.items()
    }


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, (entered, on_path) in trace_commands(Path(folder)).items():
            print(f"irec {name}: {len(on_path)} files on the path of the audio, {len(entered)} all")
            for file in sorted(entered):
                print(f"  {file}" if file in on_path else f"  [{file}]")


if __name__ == "__main__":
    main()
