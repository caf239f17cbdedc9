"""Does separation help recognition? Table 4.2 and figures 4.1 to 4.6 of Ligtenberg (2022).

A U-Net takes drums and bass out of music. Three classifiers with the same budget hear the same
clips: `base` as they are, `raw` separated, `post` separated and everything below -60 dB removed.
Epochs and L2 weights are chosen on validation clips.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

import data_builders
from irec_jax.checkpoints.workdir import lock_study
from irec_jax.errors import UserError
from irec_jax.files import read_json
from irec_jax.reports import separation_figures
from irec_jax.reports.writing import write_report
from irec_jax.studies import runs, separation_data, separation_scores, separation_tables

SYSTEMS = ("base", *separation_data.SEPARATED)
#: The weights of the source, which assigns them in two ways.
L2 = ("1e-06", "1e-05")
#: Figure 4.1: variants of the direct output.
ABLATIONS = {
    "as it is": (),
    "dilation 2": (("model.dilations", "(2, 2, 2, 2, 2, 2)"),),
    "dropout 50 %": (("model.dropout", "0.5"),),
    "mean squared error": (("loss.name", "mean_squared_error"),),
}
_UNET, _CNN = "configs/ligtenberg_unet.py", "configs/ligtenberg_cnn.py"
_OUTPUTS, _LISTEN = ("attenuation", "direct", "mask"), ("features", "audio")
#: Epochs of the source's ablations.
_ABLATION_EPOCHS = 50
#: What `--quick` sets, about an hour on two cores in all; a step of the U-Net takes about 0.9 s
#: there, a clip in training the CNN 0.06 s. So few steps need larger ones, and statistics
#: of batches that are soon those of the present network.
_QUICK = {
    "separator": {
        "training.num_epochs": 10,
        "training.min_steps_per_epoch": 100,
        "training.max_steps_per_epoch": 100,
        "training.patience": 10,
    },
    "ablation": {
        "training.num_epochs": 4,
        "training.min_steps_per_epoch": 20,
        "training.max_steps_per_epoch": 20,
        "training.patience": 4,
        "model.momentum": 0.9,
    },
    "classifier": {
        "training.num_epochs": 4,
        "training.patience": 4,
        "optimizer.learning_rate": 1e-3,
        "model.momentum": 0.9,
    },
}
#: About the seconds of a run on two cores: in full, and with `--quick`.
_EXPECTED_S = {"separator": (3.6e3, 1100), "ablation": (5e3, 140), "classifier": (9e3, 320)}
#: What `--debug` shrinks, beside what the configs do: spectrograms and networks.
_DEBUG_FRAMES = (
    ("data.window_s", "0.5"),
    ("frontend.frame_length", "1024"),
    ("frontend.hop_length", "350"),
    ("frontend.num_bins", "512"),
    ("frontend.num_frames", "64"),
)
_DEBUG_LAYERS = (
    ("model.filters", "(2, 4)"),
    ("model.kernels", "(3, 3)"),
    ("model.strides", "(2, 2)"),
    ("model.dilations", "(1, 1)"),
)
_DEBUG = {
    "unet": (
        *_DEBUG_FRAMES,
        *_DEBUG_LAYERS,
        ("evaluation.hop_s", "0.25"),
        ("model.bottleneck", "()"),
    ),
    "cnn": (*_DEBUG_LAYERS, ("model.dense", "8")),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `irec study separation`."""
    runs.add_arguments(parser, workdir="runs/study_separation", rows=False)
    parser.add_argument(
        "--stems", default="gm_musdb", help="trains the separator: gm_musdb (rendered) or musdb18"
    )
    parser.add_argument("--stems_path", default="", help="of musdb18: your folder of tracks")
    parser.add_argument(
        "--stems_split",
        default="official",
        help="official, or validation: its validation tracks test, where there are no test tracks",
    )
    parser.add_argument(
        "--separator", default="", metavar="DIR", help="one that is trained; then no other is"
    )
    parser.add_argument("--output", default="attenuation", help="of the separator, or direct, mask")
    parser.add_argument(
        "--listen",
        default="features",
        help="the classifiers hear separated spectrograms (features), or their sound (audio)",
    )
    parser.add_argument(
        "--no_ablations", action="store_true", help="leave the variants of figure 4.1 out"
    )


def settings(arguments: argparse.Namespace) -> dict:
    """What the results depend on.

    Raises:
        UserError: an option that is not known.
    """
    known = {"stems": ("gm_musdb", "musdb18"), "output": _OUTPUTS, "listen": _LISTEN}
    known["stems_split"] = ("official", "validation")
    for name, choices in known.items():
        if getattr(arguments, name) not in choices:
            raise UserError(
                f"--{name} {getattr(arguments, name)}: known are {', '.join(choices[:-1])} and "
                f"{choices[-1]}"
            )
    if arguments.stems_path and arguments.stems != "musdb18":
        raise UserError("--stems_path: goes with --stems musdb18")
    found = runs.settings(arguments) | {"listen": arguments.listen}
    found["size"] = arguments.size
    if arguments.separator:
        return found | {"separator": str(Path(arguments.separator).expanduser().resolve())}
    return found | {"output": arguments.output, **_stems(arguments)}


def _stems(arguments: argparse.Namespace) -> dict[str, str]:
    names = ("stems", "stems_path", "stems_split")
    return {name: getattr(arguments, name) for name in names}


def _kind(arguments: argparse.Namespace, kind: str) -> tuple[list[tuple[str, str]], float]:
    """The budget of runs of a kind, and how long one takes."""
    if not arguments.quick or arguments.debug:
        return [], _EXPECTED_S[kind][0]
    return [(key, str(value)) for key, value in _QUICK[kind].items()], _EXPECTED_S[kind][1]


def separator_run(arguments: argparse.Namespace, name: str = "", variant=()) -> runs.Run:
    """The run of the separator, or of a variant of figure 4.1."""
    budget, expected_s = _kind(arguments, "ablation" if name else "separator")
    words = [f"dataset={arguments.stems}", f"output={'direct' if name else arguments.output}"]
    overrides = [
        ("data.dir", arguments.data_dir),
        ("data.manual_dir", arguments.manual_dir),
        ("data.split", arguments.stems_split),
        ("seed", str(arguments.seed)),
    ]
    if arguments.stems_path:
        overrides.append(("data.path", arguments.stems_path))
    if arguments.debug:
        words.append("debug")
        overrides += _DEBUG["unet"]
    elif arguments.stems == "gm_musdb":
        overrides.append(("data.size", arguments.size))
    if name and not budget and not arguments.debug:
        budget = [("training.num_epochs", str(_ABLATION_EPOCHS))]
        budget.append(("training.patience", str(_ABLATION_EPOCHS)))
    if arguments.debug:  # of which there are but two layers
        variant = [(k, "(2, 2)" if k == "model.dilations" else text) for k, text in variant]
    return runs.Run(
        name=f"ablation-{name.replace(' ', '_').replace('%', 'percent')}" if name else "separator",
        config=f"{_UNET}:{','.join(words)}",
        overrides=(*overrides, *budget, *variant),
        expected_s=expected_s,
    )


def classifier_run(
    arguments: argparse.Namespace,
    separator: separation_data.Separator,
    system: str,
    l2: str,
    stored: str = "",
) -> runs.Run:
    """The run of a classifier, of `SYSTEMS`; `stored` is where raw and post find what they hear."""
    budget, expected_s = _kind(arguments, "classifier")
    window_s, front = str(separator.system["window_s"]), dict(separator.system["frontend"])
    overrides = [
        *runs.overrides(arguments),
        *budget,
        ("data.window_s", window_s),
        ("evaluation.hop_s", window_s),
        ("evaluation.baselines", "False"),
        ("loss.l2", l2),
    ]
    if arguments.debug:
        overrides += _DEBUG["cnn"]
    if system != "base":
        overrides.append(("data.stored", stored))
        if arguments.listen == "features":
            kept = ("num_bins", "num_frames", "floor_db", "scale_db")
            front = {"name": "stored"} | {key: front[key] for key in kept}
            front["num_stored_frames"] = separator.num_frames
            if system == "post":
                front["post_db"] = separator.system["post_db"]
    overrides += [(f"frontend.{key}", str(value)) for key, value in front.items()]
    words = f"dataset={arguments.dataset}" + (",debug" if arguments.debug else "")
    return runs.Run(
        name=f"{system}-l2-{l2}",
        config=f"{_CNN}:{words}",
        overrides=tuple(overrides),
        expected_s=expected_s,
    )


def run(arguments: argparse.Namespace) -> int:
    """`irec study separation`."""
    chosen, workdir = settings(arguments), Path(arguments.workdir)
    given = Path(arguments.separator).expanduser() if arguments.separator else None
    separator = separation_data.load_separator(given) if given else None
    lock_study(workdir, chosen)
    began = time.monotonic()
    if separator is None:
        failures = _execute([separator_run(arguments)], workdir, _separator_line).failures
        for reason in failures.values():
            raise UserError(f"the separator failed: {reason}")
        given = workdir / "runs" / "separator"
        separator = separation_data.load_separator(given)
    planned, classifiers = _classify(arguments, separator, workdir)
    variants = {}
    if not arguments.no_ablations:
        variants = {k: separator_run(arguments, k, variant) for k, variant in ABLATIONS.items()}
    ablations = _execute(list(variants.values()), workdir, _separator_line)
    report, heard = separation_scores.compare(
        {system: {l2: one.name for l2, one in by_l2.items()} for system, by_l2 in planned.items()},
        classifiers.reports,
        workdir / "runs",
        seed=arguments.seed,
    )
    trained_on, file = separator.system["dataset"], given / "report.json"
    clips_rendered = data_builders.describe(arguments.dataset).rendered
    rendered = [arguments.dataset] * clips_rendered + [trained_on["name"]] * trained_on["rendered"]
    report |= {
        "rendered": bool(rendered),
        "clips_rendered": clips_rendered,
        "dataset": " and ".join(rendered) or arguments.dataset,
        "settings": chosen,
        "separator": {
            "name": separator.made_by,
            "dataset": dict(trained_on),
            "target": list(separator.system["target"]),
            "post_db": separator.system["post_db"],
            "report": read_json(file) if file.exists() else None,
        },
        "ablations": {
            name: ablations.reports[one.name]
            for name, one in variants.items()
            if one.name in ablations.reports
        },
        "failures": classifiers.failures | ablations.failures,
        "provenance": runs.collect_provenance(
            classifiers, split="parts", seed=arguments.seed, seconds=time.monotonic() - began
        ),
    }
    _write(report, heard, workdir)
    return 1 if report["failures"] else 0


def _classify(
    arguments: argparse.Namespace, separator: separation_data.Separator, workdir: Path
) -> tuple[dict[str, dict[str, runs.Run]], runs.Results]:
    """Separates the clips and trains all classifiers: system -> L2 weight -> run, and results.

    Raises:
        UserError: a system is left without a classifier.
    """
    weights = L2[:1] if arguments.quick or arguments.debug else L2
    clips = runs.resolve(classifier_run(arguments, separator, "base", weights[0])).data
    stores = separation_data.store(separator, clips, workdir / "separated", listen=arguments.listen)
    planned = {
        system: {
            l2: classifier_run(arguments, separator, system, l2, stores.get(system, ""))
            for l2 in weights
        }
        for system in SYSTEMS
    }
    every = [one for by_l2 in planned.values() for one in by_l2.values()]
    results = _execute(every, workdir, _classifier_line)
    missing = [
        system
        for system, by_l2 in planned.items()
        if not any(one.name in results.reports for one in by_l2.values())
    ]
    if missing:
        raise UserError(f"no classifier of {', '.join(missing)}, as told above")
    return planned, results


def _execute(
    every: list[runs.Run], workdir: Path, summary: Callable[[Mapping], str]
) -> runs.Results:
    names = [one.name for one in every]
    return runs.execute(every, todo=names, workdir=workdir, summary=summary)


def _write(report: dict, heard: Mapping[str, np.ndarray], workdir: Path) -> None:
    """Figures, report.md, report.html, and last report.json."""
    figures = draw(report, heard)
    page = separation_tables.page(report, pictures=list(figures))
    write_report(workdir, report, page, figures, html_title="Separation before recognition")
    print(page.partition("\n## ")[0])
    print(f"\nreport: {workdir / 'report.md'}")


def draw(report: Mapping, heard: Mapping[str, np.ndarray]) -> dict:
    """File name -> figure."""
    where = f"{report['dataset']}{', rendered audio' if report['rendered'] else ''}"
    scores = {system: heard[system] for system in report["systems"]}
    found = {
        "roc.png": separation_figures.roc_curves(
            report["classes"], heard["labels"], scores, title=f"ROC curves of test clips, {where}"
        )
    }
    separated = report["separator"]["report"]
    if separated:
        rows = separated["tracks"]
        found["sdr_per_track.png"] = separation_figures.sdr_per_track(
            [row["name"] for row in rows],
            {
                system: [row["scores"][system]["amplitude_sdr_db"] for row in rows]
                for system in separated["systems"]
            },
            title=f"Amplitude SDR of the separator by track, {separated['dataset']}",
        )
        found["separator.png"] = separation_figures.learning_curves(
            {"separator": separated["history"]},
            kept={"separator": separated["best_epoch"]["epoch"]},
            title="The separator",
        )
    if report["ablations"]:
        found["ablations.png"] = separation_figures.learning_curves(
            {name: one["history"] for name, one in report["ablations"].items()},
            kept={name: one["best_epoch"]["epoch"] for name, one in report["ablations"].items()},
            title="The direct output and its variants",
        )
    return found


def _separator_line(report: Mapping) -> str:
    block = report["summary"]["raw"]["amplitude_sdr_db"]
    value = "–" if block["mean"] is None else f"{block['mean']:.2f} dB"
    return f"amplitude SDR {value}, epoch {report['best_epoch']['epoch']} of " + str(
        len(report["history"])
    )


def _classifier_line(report: Mapping) -> str:
    best = report["best_epoch"]
    return (
        f"validation loss {best['valid_loss']:.4f}, epoch {best['epoch']} of "
        f"{len(report['history'])}"
    )
