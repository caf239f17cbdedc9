"""Benchmark of training steps and transforms on an accelerator.

    python -m irec_jax.benchmarks.accelerator [--minutes 8] [--only NAME ...] [--shrink]
        [--out runs/accelerator]

The benchmark runs on JAX's default device. Once `--minutes` have passed, no further part is
started, and the remaining parts are listed as not measured. Inputs are placed on the device
beforehand, and several consecutive steps are timed together. If PyTorch supports the same device,
its training step is timed in alternation with ours. PyTorch runs in channels_last, both eager and
compiled, and uses autocast to bfloat16 where irec-jax computes in bfloat16. The table also shows
the fraction of the device's peak arithmetic rate and memory bandwidth that each step reaches.

The `epochs` part trains Han's network, with validation and checkpoints, on 17,100 windows of random
audio from 5,700 three-second clips (the size of the IRMAS training set). It compares storing the
audio on the host with storing it on the device, and running one step per call with running several.

The results are written to `accelerator.json` and, as Markdown tables, to `accelerator.md` in the
`--out` folder. `--shrink` uses small networks and inputs to check that everything runs; the
resulting times are meaningless.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from irec_jax import frontends, losses, models
from irec_jax.benchmarks import bss, epochs, griffin_lim, networks, recurrent, roofline, timing
from irec_jax.benchmarks import train_step as han
from irec_jax.benchmarks import unet as ligtenberg
from irec_jax.benchmarks.roofline import Row
from irec_jax.dsp import griffin_lim as algorithm
from irec_jax.files import write_json, write_text
from irec_jax.models.multi_instance import MultiInstanceNetwork

DTYPES = ("bfloat16", "float32")
_SMALL_UNET: dict[str, Any] = dict(
    filters=(2, 3), kernels=(3, 3), strides=(2, 2), dilations=(1, 1), bottleneck=(4,)
)
#: Sizes for the full benchmark and for `--shrink`.
SIZES: dict[str, dict[str, Any]] = {
    "full": dict(
        han=[dict(batch=512), dict(batch=128)],
        unet=[dict(batch=8, shape=ligtenberg.SHAPE)],
        gru=[dict(batch=64, steps=294, inputs=300, hidden=50)],
        lstm=[dict(batch=16, steps=66_150), dict(batch=16, steps=884_000)],
        bags=[dict(bags=12, instances=5, frames=112)],
        clips=dict(clips=64, seconds=3.0),
        griffin_lim=dict(clips=8, seconds=3.0, iterations=32),
        bss=dict(sources=9, seconds=30.0),
        epochs=dict(num_clips=5700, num_validation=855, clip_s=3.0, num_epochs=6),
        ceiling=8192,
        types=2,
        updates=10,
        rounds=7,
    ),
    "shrink": dict(
        han=[dict(batch=4, network=dict(filters=(2, 3), dense=4))],
        unet=[dict(batch=2, shape=(16, 8), network=_SMALL_UNET)],
        gru=[dict(batch=2, steps=6, inputs=5, hidden=3)],
        lstm=[dict(batch=2, steps=300)],
        bags=[dict(bags=1, instances=2, frames=20, network=dict(filters=(2, 3), dense=4))],
        clips=dict(clips=2, seconds=0.2),
        griffin_lim=dict(clips=1, seconds=0.2, iterations=2),
        bss=dict(sources=2, seconds=0.5),
        epochs=dict(
            num_clips=6,
            num_validation=3,
            clip_s=2.0,
            num_epochs=2,
            overrides={
                "model.filters": "(2, 3)",
                "model.dense": "4",
                "training.batch_size": "4",
            },
        ),
        ceiling=64,
        types=1,
        updates=2,
        rounds=2,
    ),
}


def add_training(
    row: Row, training: networks.Training, sizes: dict, peers: Mapping[str, Callable[[], object]]
) -> None:
    """Time our step in alternation with the peers' steps, and add the results to a row."""
    compiled, row.work = roofline.count_work(training.step, training.state, training.batch)
    state, updates = training.state, sizes["updates"]

    def ours() -> None:
        nonlocal state
        for _ in range(updates):
            state, _ = compiled(state, training.batch)
        jax.block_until_ready(state)

    calls = {networks.OURS: ours, **peers}
    seconds = roofline.time_calls(
        calls, updates=updates, rounds=sizes["rounds"], budget_s=sizes["budget_s"]
    )
    _add_times(row, seconds)


def _add_times(row: Row, seconds: dict[str, list[float]]) -> None:
    own = seconds.pop(networks.OURS)
    row.seconds, row.minimum_s = roofline.median(own), min(own)
    row.peers = {name: roofline.median(values) for name, values in seconds.items()}


def random_params(model: Any, features: np.ndarray) -> dict[str, Any]:
    """Return random parameters for a network without compiling its initialisation."""
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), features, train=False))
    rng = np.random.default_rng(0)

    def draw(shape: Any) -> np.ndarray:
        scale = np.sqrt(2 / np.prod(shape.shape[:-1])) if len(shape.shape) > 1 else 0.0
        return (scale * rng.standard_normal(shape.shape)).astype(np.float32)

    return jax.tree.map(draw, shapes["params"])


def _torch_peers(row: Row, create: Callable[[], Any], loss: Any, *batch: Any, sizes: dict):
    """Return PyTorch's training steps; the row's note lists the steps that failed."""
    peers, row.note = networks.torch_peers(
        create, loss, *batch, bfloat16=row.dtype == "bfloat16", updates=sizes["updates"]
    )
    return peers


def time_han(row: Row, case: dict, sizes: dict) -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((case["batch"], han.NUM_FRAMES, han.NUM_BANDS), np.float32)
    labels = np.eye(han.NUM_CLASSES, dtype=np.float32)[rng.integers(11, size=case["batch"])]
    network = case.get("network", {})
    options = dict(num_classes=han.NUM_CLASSES, activation="lrelu_0.33", dtype=row.dtype)
    model = models.create("convnet", **options, **network)
    params = random_params(model, features[:1])
    training = networks.create_training(
        model, params, losses.categorical_cross_entropy, features, labels
    )
    peers = {}
    if not network:
        peers = _torch_peers(
            row,
            lambda: networks.torch_sequential(han.torch_layers(), params),
            han.torch_loss,
            features[:, None],
            labels,
            sizes=sizes,
        )
    add_training(row, training, sizes, peers)


def time_unet(row: Row, case: dict, sizes: dict) -> None:
    rng = np.random.default_rng(0)
    shape, network = case["shape"], case.get("network", {})
    features = rng.uniform(-0.6, 0, (case["batch"], *shape)).astype(np.float32)
    labels = features - rng.uniform(0, 0.2, features.shape).astype(np.float32)
    model = models.create("unet", dtype=row.dtype, **network)
    variables = ligtenberg.random_variables(model, shape)
    state = {key: value for key, value in variables.items() if key != "params"}
    training = networks.create_training(
        model, variables["params"], losses.mean_absolute_error, features, labels, state
    )
    peers = _torch_peers(
        row,
        lambda: ligtenberg.torch_unet(cast(models.UNet, model), variables, shape),
        lambda outputs, targets: (outputs - targets).abs().mean(),
        features[:, None, ::-1, ::-1].copy(),
        labels[:, None, ::-1, ::-1].copy(),
        sizes=sizes,
    )
    add_training(row, training, sizes, peers)


def time_gru(row: Row, case: dict, sizes: dict) -> None:
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(case["batch"], case["steps"], case["inputs"])).astype(np.float32)
    labels = np.eye(5, dtype=np.float32)[rng.integers(5, size=case["batch"])]
    hidden = case["hidden"]
    options: dict[str, Any] = dict(cell="gru", hidden=(hidden,), dtype=row.dtype)
    model = models.create("recurrent", num_classes=5, **options)
    params = recurrent.random_params(model, steps)

    def create() -> Any:
        torch = networks.import_torch()

        class Network(torch.nn.Module):
            """PyTorch's GRU, whose gates differ slightly from ours, followed by a classifier."""

            def __init__(self):
                super().__init__()
                self.recurrent = torch.nn.GRU(case["inputs"], hidden, batch_first=True)
                self.classifier = torch.nn.Linear(hidden, 5)

            def forward(self, x):
                return self.classifier(self.recurrent(x)[1][-1])

        return Network()

    training = networks.create_training(model, params, losses.softmax_cross_entropy, steps, labels)
    peers = _torch_peers(row, create, _torch_cross_entropy, steps, labels, sizes=sizes)
    add_training(row, training, sizes, peers)


def _torch_cross_entropy(outputs: Any, labels: Any) -> Any:
    return timing.import_peer("torch").nn.functional.cross_entropy(outputs, labels)


def time_lstm(row: Row, case: dict, sizes: dict) -> None:
    batch, num_steps = case["batch"], case["steps"]
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((batch, num_steps, 1), np.float32)
    labels = np.eye(11, dtype=np.float32)[rng.integers(11, size=batch)]
    model = models.create("recurrent", **recurrent.RAW_WAVEFORM, dtype=row.dtype)
    params = recurrent.random_params(model, steps)
    features = {"steps": steps, "num_steps": np.full(batch, num_steps, np.int32)}
    training = networks.create_training(
        model, params, losses.categorical_cross_entropy, features, labels
    )
    add_training(row, training, sizes | dict(updates=1), {})


def time_bags(row: Row, case: dict, sizes: dict) -> None:
    rng = np.random.default_rng(0)
    shape = (case["bags"], case["instances"], case["frames"], han.NUM_BANDS)
    features = rng.standard_normal(shape, np.float32)
    labels = (rng.random((case["bags"], 13)) < 0.3).astype(np.float32)
    options: dict[str, Any] = dict(num_classes=13, activation="relu", pooled_dropout=0.0)
    model = models.create("convnet", **options, dtype=row.dtype, **case.get("network", {}))
    params = random_params(model, features[0, :1])
    bags = MultiInstanceNetwork(networks=[model.copy()], num_classes=13)

    def bag_loss(outputs: Any, labels: Any) -> Any:
        log_p, log_not_p = outputs
        return losses.log_binary_cross_entropy(log_p, log_not_p, labels)

    training = networks.create_training(bags, {"networks_0": params}, bag_loss, features, labels)
    add_training(row, training, sizes, {})


def time_log_mel(row: Row, case: dict, sizes: dict) -> None:
    frontend = frontends.LogMel(drop_last=False)
    shape = case["clips"], round(case["seconds"] * frontend.sample_rate_hz)
    waveforms = jax.device_put(np.random.default_rng(0).standard_normal(shape, np.float32))
    _time_function(row, jax.jit(lambda audio: frontend(audio)), waveforms, sizes)


def time_griffin_lim(row: Row, case: dict, sizes: dict) -> None:
    num_samples = round(case["seconds"] * griffin_lim.SAMPLE_RATE_HZ)
    magnitudes = jax.device_put(griffin_lim.make_magnitudes(case["clips"], num_samples))
    options: dict[str, Any] = dict(griffin_lim.FRAMING, num_samples=num_samples)
    options |= dict(momentum=griffin_lim.MOMENTUM, num_iterations=case["iterations"])
    function = jax.jit(lambda m: algorithm.griffin_lim(m, **options))
    _time_function(row, function, magnitudes, sizes)


def _time_function(row: Row, function: Any, argument: Any, sizes: dict) -> None:
    compiled, row.work = roofline.count_work(function, argument)
    updates = sizes["updates"]

    def ours() -> None:
        jax.block_until_ready([compiled(argument) for _ in range(updates)])

    calls = {networks.OURS: ours}
    _add_times(row, roofline.time_calls(calls, updates=updates, rounds=sizes["rounds"]))


def time_bss(row: Row, case: dict, sizes: dict) -> None:
    sources = bss.make_sources(case["sources"], case["seconds"])
    estimates = bss.make_estimates(sources)
    calls = {networks.OURS: lambda: bss.bss.bss_eval_sources(sources, estimates)}
    _add_times(row, roofline.time_calls(calls, updates=1, rounds=min(3, sizes["rounds"])))
    row.note = "including transfers"


#: Part -> description, function and dtypes. The most important parts come first.
PARTS: dict[str, tuple[str, Callable[[Row, dict, dict], None], tuple[str, ...]]] = {
    "han": ("training step of Han's network", time_han, DTYPES),
    "unet": ("training step of Ligtenberg's U-Net", time_unet, DTYPES),
    "gru": ("training step of Goel's GRU", time_gru, ("float32",)),
    "bags": ("training step on the instances of Seipel's bags", time_bags, DTYPES),
    "log_mel": ("log-mel spectrograms of clips", time_log_mel, ("float32",)),
    "griffin_lim": ("Griffin-Lim on clips", time_griffin_lim, ("float32",)),
    "bss": ("BSS-Eval of sources", time_bss, ("float32",)),
    "lstm": ("training step of Vazonis's LSTM", time_lstm, ("float32",)),
}


def part_rows(name: str, sizes: dict) -> Iterator[tuple[Row, dict]]:
    """Yield an empty row and its case for each combination of case and dtype in a part."""
    description, _, dtypes = PARTS[name]
    dtypes = dtypes[: sizes["types"]]
    key = {"log_mel": "clips"}.get(name, name)
    cases = sizes[key] if isinstance(sizes[key], list) else [sizes[key]]
    for case in cases:
        count = next(case[k] for k in ("batch", "bags", "clips", "sources") if k in case)
        count *= case.get("instances", 1)
        length = f", {case['steps']:,} time steps" if "steps" in case else ""
        for dtype in dtypes:
            yield Row(f"{description}{length}", dtype, count), case


@dataclasses.dataclass
class Deadline:
    """Time limit after which no further part is started."""

    seconds: float
    began: float = dataclasses.field(default_factory=time.perf_counter)

    @property
    def passed(self) -> bool:
        return time.perf_counter() - self.began > self.seconds


@contextlib.contextmanager
def noted(set_note: Callable[[str], None]) -> Iterator[None]:
    """Turn an error in one part into a note, so that the other parts still run."""
    try:
        yield
    except Exception as error:  # out of memory, compiler errors, missing libraries ...
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        set_note(f"failed: {reason[:80]}")


def measure(names: list[str], sizes: dict, deadline: Deadline) -> tuple[list[Row], list[dict]]:
    """Measure the named parts and print each result as soon as it is available."""
    rows, trainings = [], []
    for name in [name for name in PARTS if name in names]:
        for row, case in part_rows(name, sizes):
            rows.append(row)
            if deadline.passed:
                row.note = "not measured: out of time"
            else:
                with noted(lambda note, row=row: setattr(row, "note", note)):
                    PARTS[name][1](row, case, sizes)
            result = f"{1e3 * row.seconds:.3g} ms" if row.seconds else row.note
            print(f"{row.name}, {row.examples:,}, {row.dtype}: {result}", flush=True)
        if name == "han" and "epochs" in names:  # the second most important part
            trainings = measure_epochs(sizes, deadline)
    if "epochs" in names and not trainings:
        trainings = measure_epochs(sizes, deadline)
    return rows, trainings


def measure_epochs(sizes: dict, deadline: Deadline) -> list[dict]:
    """Time training for several audio placements and numbers of steps per call."""
    results = []
    chosen = None if jax.default_backend() != "cpu" else 2  # on the CPU, None would mean 1
    for placement, steps_per_call in (("device", chosen), ("device", 1), ("host", 1)):
        result: dict[str, Any] = {"placement": placement, "steps_per_call": steps_per_call}
        if deadline.passed:
            result["note"] = "not measured: out of time"
        else:
            with noted(lambda note, result=result: result.update(note=note)):
                result = epochs.time_epochs(
                    **sizes["epochs"], placement=placement, steps_per_call=steps_per_call
                )
        results.append(result)
    return results


def main(arguments: list[str]) -> None:
    names = (*PARTS, "epochs")
    options = timing.parse_options(
        "accelerator",
        arguments,
        only=(list(names), names, "parts to measure"),
        minutes=(8.0, 0, "start no further part after this many minutes"),
        shrink=(False, None, "use small networks and inputs to check that everything runs"),
        out=("runs/accelerator", None, "folder for the results"),
    )
    deadline = Deadline(60 * options.minutes)
    sizes: dict[str, Any] = SIZES["shrink" if options.shrink else "full"] | {"budget_s": 20.0}
    device = jax.local_devices()[0]
    peak = roofline.find_peak(device.device_kind)
    environment = timing.environment(networks.PACKAGES)
    print(f"{device.device_kind} ({device.platform}); {environment}", flush=True)
    ceilings = roofline.measure_ceilings(sizes["ceiling"])
    rows, trainings = measure(options.only, sizes, deadline)
    folder = Path(options.out)
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "device": device.device_kind,
        "platform": device.platform,
        "environment": environment,
        "shrunk": options.shrink,
        "peak": dataclasses.asdict(peak) if peak else None,
        "ceilings": ceilings,
        "rows": [row.to_dict(peak) for row in rows],
        "epochs": trainings,
    }
    write_json(folder / "accelerator.json", report)
    page = describe(report, rows, peak)
    write_text(folder / "accelerator.md", page)
    print(f"\n{page}\n{folder / 'accelerator.md'}, {folder / 'accelerator.json'}")


def describe(report: dict[str, Any], rows: list[Row], peak: roofline.Peak | None) -> str:
    """Return the results as Markdown."""
    ceilings = report["ceilings"]
    if peak is None:
        peaks = "peak rates unknown"
    else:
        rates = [
            f"{rate / 1e12:.4g} TFLOP/s in {name}"
            for name, rate in (("bfloat16", peak.bfloat16), ("float32", peak.float32))
            if rate
        ]
        peaks = f"peaks: {', '.join(rates)}, {peak.bandwidth / 1e12:.3g} TB/s ({peak.source})"
    measured = (
        f"measured: matrix products at {ceilings['bfloat16'] / 1e12:.3g} TFLOP/s in bfloat16 and "
        f"{ceilings['float32'] / 1e12:.3g} TFLOP/s in float32, a copy at "
        f"{ceilings['bandwidth'] / 1e9:.3g} GB/s"
    )
    shrunk = (
        " Small networks and inputs: the times say nothing about the device." * report["shrunk"]
    )
    lines = [
        f"**{report['device']}; {report['environment']}; {peaks}; {measured}.{shrunk}**",
        roofline.table(rows, peak),
    ]
    if report["epochs"]:
        lines += [
            "**Training of Han's network on synthetic audio, with validation and checkpoints.**",
            epochs.describe(report["epochs"]),
        ]
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    timing.run(main)
