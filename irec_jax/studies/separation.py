"""Separation before recognition: tables 4.1 and 4.2 and figures 4.1 to 4.5 of Ligtenberg (2022).

A U-Net removes drums and bass from music. Three classifiers are trained with the same budget on the
same clips: `base` on the original audio, `raw` on separated audio, and `post` on separated audio
after removal of its softest bins. Epochs and L2 weights are chosen on validation clips.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from irec_jax.data.options import is_rendered
from irec_jax.errors import UserError
from irec_jax.files import expand_home, read_json
from irec_jax.reports import separation_figures, study_figures
from irec_jax.studies import (
    pages,
    runs,
    separation_ablation,
    separation_data,
    separation_scores,
    separation_tables,
)
from irec_jax.studies.separation_data import TrainedSeparator
from irec_jax.systems.separator import create_gate

SYSTEMS = ("base", *separation_data.SEPARATED)
#: The two L2 weights in the paper, which is inconsistent about which systems use which weight.
L2 = ("1e-06", "1e-05")
_UNET, _CNN = "configs/ligtenberg_unet.py", "configs/ligtenberg_cnn.py"
_CHOICES = {
    "stems": ("gm_musdb", "musdb18"),
    "stems_split": ("official", "validation"),
    "output": ("attenuation", "direct", "mask", "paper"),
    "listen": ("features", "audio"),
}
_EPOCHS = ("training.num_epochs", "training.patience")
_STEPS = ("training.min_steps_per_epoch", "training.max_steps_per_epoch")
_MOMENTUM = {"model.momentum": "0.9"}
#: Settings for `--quick`, which takes about an hour on two cores; a training step takes 1 to 2 s
#: for the U-Net and 0.06 s per clip for the CNN. With so few steps, the CNN needs a higher learning
#: rate, and the batch statistics need a lower momentum to keep up with the parameters.
_QUICK = {
    "separator": dict.fromkeys(_EPOCHS, "10") | dict.fromkeys(_STEPS, "100"),
    "ablation": dict.fromkeys(_EPOCHS, "3") | dict.fromkeys(_STEPS, "20") | _MOMENTUM,
    "classifier": dict.fromkeys(_EPOCHS, "4") | {"optimizer.learning_rate": "0.001"} | _MOMENTUM,
}
#: Approximate run duration in seconds on two cores, without and with `--quick`.
_EXPECTED_S = {"separator": (3.6e3, 1100), "ablation": (5e3, 105), "classifier": (9e3, 320)}
#: The paper's postprocessing, as we understand it.
_POST = {"evaluation.post_reference": "segment", "evaluation.post_fill": "zero"}
#: Smaller CNN for `--debug`, in addition to the debug settings in the configs.
_DEBUG_CNN = {
    "model.filters": "(2, 4)",
    "model.kernels": "(3, 3)",
    "model.strides": "(2, 2)",
    "model.dilations": "(1, 1)",
}
#: Smaller U-Net and smaller spectrograms for `--debug`.
_DEBUG_UNET = _DEBUG_CNN | {
    "model.bottleneck": "()",
    "data.window_s": "0.5",
    "evaluation.hop_s": "0.25",
    "frontend.frame_length": "1024",
    "frontend.hop_length": "350",
    "frontend.num_bins": "512",
    "frontend.num_frames": "64",
}


def settings(arguments: argparse.Namespace) -> dict:
    """Return the options that affect the results.

    Raises:
        UserError: an option has an unknown value, or `--stems-path` does not apply.
    """
    for name, choices in _CHOICES.items():
        runs.check_choice(name, getattr(arguments, name), choices)
    if arguments.stems_path and arguments.stems != "musdb18":
        raise UserError("--stems-path: only applies to musdb18; add --stems musdb18 or omit it")
    shared = runs.shared_settings(arguments)
    shared |= {"listen": arguments.listen, "size": arguments.size}
    if arguments.separator:
        return shared | {"separator": str(expand_home(arguments.separator).resolve())}
    names = ("output", "stems", "stems_path", "stems_split")
    return shared | {name: getattr(arguments, name) for name in names}


def _budget(arguments: argparse.Namespace, kind: str) -> tuple[dict[str, str], float]:
    """Return the overrides and the approximate duration, in seconds, for a kind of run."""
    full_s, quick_s = _EXPECTED_S[kind]
    return (_QUICK[kind], quick_s) if arguments.quick and not arguments.debug else ({}, full_s)


def separator_run(arguments: argparse.Namespace, ablation: str = "") -> runs.Run:
    """Return the run that trains the separator, or one of its ablations.

    Args:
        arguments: options of `irec study separation`.
        ablation: key of `separation_ablation.ABLATIONS`; empty for the study's separator.
    """
    budget, expected_s = _budget(arguments, "ablation" if ablation else "separator")
    choice = "paper" if arguments.output == "paper" else f"output={arguments.output}"
    choice = f"ablation={ablation}" if ablation else choice
    config = f"{_UNET}:dataset={arguments.stems},{choice}"
    overrides = {
        "data.dir": arguments.data_dir,
        "data.manual_dir": arguments.manual_dir,
        "data.split": arguments.stems_split,
        "seed": str(arguments.seed),
        **_POST,
    }
    if arguments.stems_path:
        overrides["data.path"] = arguments.stems_path
    if arguments.debug:
        config += ",debug"
        overrides |= _DEBUG_UNET
        if ablation == "dilation":  # the debug network has only two layers
            overrides["model.dilations"] = "(2, 2)"
    elif is_rendered(arguments.stems):
        overrides["data.size"] = arguments.size
    overrides |= budget
    name = f"ablation-{ablation}" if ablation else "separator"
    return runs.Run(name, config, tuple(overrides.items()), expected_s)


def ablation_runs(arguments: argparse.Namespace) -> dict[str, runs.Run]:
    """Return the ablation runs by ablation name; with `--quick`, only those in figure 4.1."""
    names = separation_ablation.FIGURE if arguments.quick else separation_ablation.ABLATIONS
    return {name: separator_run(arguments, name) for name in names}


def classifier_run(
    arguments: argparse.Namespace,
    separator: TrainedSeparator,
    system: str,
    l2: str,
    stored: str = "",
) -> runs.Run:
    """Return the run that trains a classifier.

    Args:
        arguments: options of `irec study separation`.
        separator: separator that determines the window length and the front end.
        system: one of `SYSTEMS`.
        l2: L2 weight.
        stored: folder that contains the separated clips (only for raw and post).
    """
    budget, expected_s = _budget(arguments, "classifier")
    window_s, frontend = str(separator.system["window_s"]), dict(separator.system["frontend"])
    overrides = dict(runs.shared_overrides(arguments)) | budget
    overrides |= {"data.window_s": window_s, "evaluation.hop_s": window_s, "loss.l2": l2}
    if arguments.debug:
        overrides |= _DEBUG_CNN | {"model.dense": "8"}
    if system != "base":
        overrides["data.stored"] = stored
        if arguments.listen == "features":
            keys = ("num_bins", "num_frames", "floor_db", "scale_db")
            frontend = {"name": "stored"} | {key: frontend[key] for key in keys}
            frontend["num_stored_frames"] = separator.num_frames
            if system == "post":
                gate = create_gate(separator.system)
                frontend |= {"post_db": gate.post_db, "post_reference": gate.reference}
                frontend["post_fill"] = gate.fill
    overrides |= {f"frontend.{key}": str(value) for key, value in frontend.items()}
    config = runs.config_path(f"{_CNN}:", arguments)
    return runs.Run(f"{system}-l2-{l2}", config, tuple(overrides.items()), expected_s)


def run(arguments: argparse.Namespace) -> int:
    """Run `irec study separation` and return its exit code."""
    options = settings(arguments)
    # The workdir must be local, because the separated clips are memory-mapped.
    folder, separator = expand_home(arguments.workdir) / "runs" / "separator", None
    if arguments.separator:
        folder = expand_home(arguments.separator)
        separator = separation_data.load_trained_separator(folder)
    study = runs.Study(arguments, options)
    if separator is None:
        trained = study.execute([separator_run(arguments)], _separator_line)
        for reason in trained.failures.values():
            raise UserError(f"the separator failed: {reason}")
        separator = separation_data.load_trained_separator(folder)
    planned, classifiers = _train_classifiers(arguments, separator, study)
    planned_ablations = {} if arguments.no_ablations else ablation_runs(arguments)
    ablations = study.execute(list(planned_ablations.values()), _separator_line)
    names = {system: {l2: run.name for l2, run in by.items()} for system, by in planned.items()}
    comparison, arrays = separation_scores.compare(
        names, classifiers.reports, study.workdir / "runs", seed=arguments.seed
    )
    report = study.report(classifiers, split="parts")
    report["failures"] |= ablations.failures
    report |= comparison | _describe_data(arguments, separator, folder)
    report["labels"] = separation_scores.count_labels(next(iter(classifiers.reports.values())))
    trained = {name: ablations.reports.get(run.name) for name, run in planned_ablations.items()}
    report["ablations"] = {name: run for name, run in trained.items() if run}
    figures = draw(report, arrays)
    page = separation_tables.markdown_page(report, pictures=figures)
    return study.finish(report, page, figures)


def _describe_data(
    arguments: argparse.Namespace, separator: TrainedSeparator, folder: Path
) -> dict:
    """Return the report entries that describe the datasets and the separator."""
    stems, file = separator.system["dataset"], folder / "report.json"
    gate = create_gate(separator.system)
    clips_rendered = is_rendered(arguments.dataset)
    rendered = [arguments.dataset] * clips_rendered + [stems["name"]] * stems["rendered"]
    return {
        "rendered": bool(rendered),
        "clips_rendered": clips_rendered,
        "dataset": " and ".join(rendered) or arguments.dataset,
        "separator": {
            "name": separator.made_by,
            "dataset": dict(stems),
            "target": list(separator.system["target"]),
            "post_db": gate.post_db,
            "post_reference": gate.reference,
            "post_fill": gate.fill,
            "report": read_json(file) if file.exists() else None,
        },
    }


def _train_classifiers(
    arguments: argparse.Namespace, separator: TrainedSeparator, study: runs.Study
) -> tuple[dict[str, dict[str, runs.Run]], runs.Results]:
    """Separate the clips and train all classifiers.

    Returns:
        The runs by system and L2 weight, and their results.

    Raises:
        UserError: all classifiers of a system failed.
    """
    weights = L2[:1] if arguments.quick or arguments.debug else L2
    clips = runs.resolve(classifier_run(arguments, separator, "base", weights[0])).data
    folder = study.workdir / "separated"
    stores = separation_data.store(separator, clips, folder, listen=arguments.listen)
    planned = {
        system: {
            l2: classifier_run(arguments, separator, system, l2, stores.get(system, ""))
            for l2 in weights
        }
        for system in SYSTEMS
    }
    classifiers = [run for by_l2 in planned.values() for run in by_l2.values()]
    results = study.execute(classifiers, _classifier_line)
    missing = [
        system
        for system, by_l2 in planned.items()
        if all(run.name in results.failures for run in by_l2.values())
    ]
    if missing:
        raise UserError(
            f"all classifiers of {', '.join(missing)} failed; the reasons are printed above"
        )
    return planned, results


def draw(report: Mapping, arrays: Mapping[str, np.ndarray]) -> dict[str, Figure]:
    """Draw the figures from the study's report and the arrays from `separation_scores.compare`.

    Returns:
        File name -> figure.
    """
    dataset = f"{report['dataset']}{', rendered audio' if report['rendered'] else ''}"
    scores = {system: arrays[system] for system in report["systems"]}
    title = f"ROC curves on the test clips, {dataset}"
    roc = separation_figures.roc_curves(report["classes"], arrays["labels"], scores, title=title)
    figures = {"roc.png": roc}
    per_class = {
        f"{split}: {block['num_clips']} clips, {block['num_labels']} labels": block["per_class"]
        for split, block in report["labels"].items()
    }
    curves = {
        system: {f"L2 {float(l2):g}": choice["history"] for l2, choice in block["choices"].items()}
        for system, block in report["systems"].items()
    }
    title = f"AUC on the validation clips, {dataset}"
    figures["auc.png"] = separation_figures.auc_curves(curves, title=title)
    title = f"Labels of the training and test clips, {dataset}"
    figures["labels.png"] = study_figures.label_distributions(per_class, title=title)

    def learning_curves(reports: Mapping[str, Mapping], title: str) -> Figure:
        histories = {name: run["history"] for name, run in reports.items()}
        kept = {name: run["best_epoch"]["epoch"] for name, run in reports.items()}
        return separation_figures.learning_curves(histories, kept=kept, title=title)

    if separated := report["separator"]["report"]:
        tracks = separated["tracks"]
        names = [track["name"] for track in tracks]
        levels = {
            system: [track["scores"][system]["amplitude_sdr_db"] for track in tracks]
            for system in separated["systems"]
        }
        title = f"Amplitude SDR of the separator by track, {separated['dataset']}"
        figures["sdr_per_track.png"] = separation_figures.sdr_per_track(names, levels, title=title)
        figures["separator.png"] = learning_curves({"separator": separated}, "Separator")
    return figures | separation_ablation.draw(report["ablations"])


def _separator_line(report: Mapping) -> str:
    block = report["summary"]["raw"]["amplitude_sdr_db"]
    value = "–" if block["mean"] is None else f"{block['mean']:.2f} dB"
    return f"amplitude SDR {value}, epoch {pages.kept_epoch(report)}"


def _classifier_line(report: Mapping) -> str:
    auc = report["best_epoch"]["valid_auc"]
    return f"validation AUC {auc:.3f}, epoch {pages.kept_epoch(report)}"
