"""Report page for the separation study: verdict, table 4.2, and system details."""

import math
from collections.abc import Collection, Mapping, Sequence

from irec_jax.reports.page import measured_table, picture, rendered_banner
from irec_jax.reports.separation_page import (
    POST_FILLS,
    POST_REFERENCES,
    describe_post,
    paired_difference,
)
from irec_jax.studies import pages, separation_ablation
from irec_jax.studies.published import ligtenberg
from irec_jax.text import class_names, difference, is_finite, mean_sd, number

_SDR = "amplitude_sdr_db"
_INPUTS = {
    "base": "original clips",
    "raw": "separator output",
    "post": "postprocessed output",
}
_CAPTIONS = {
    "labels.png": "Labels by class of the training clips (including validation) and the test clips",
    "roc.png": "ROC curves by class on the test clips, with their AUC",
    "sdr_per_track.png": "Amplitude SDR of the separator on each test track",
    "separator.png": "Training and validation loss of the separator by epoch",
    "auc.png": "Figure 4.5: AUC on the validation clips by epoch, for each L2 weight",
}
_SEPARATED = {"mixture": "mixture (no separation)", "ideal": "ideal ratio mask (upper bound)"}


def markdown_page(report: Mapping, *, pictures: Collection[str]) -> str:
    """Return the report of `studies.separation` as a Markdown page.

    Args:
        report: the study's report.
        pictures: file names of the existing figures.
    """
    captions = {name: caption for name, caption in _CAPTIONS.items() if name in pictures}
    introduction = [
        *rendered_banner(report),
        *pages.brief_run(report["settings"], "Quick run: the networks were trained only briefly."),
        f"**{verdict(report)}**",
        *picture(captions, "roc.png"),
        _question(report),
        _summary(report),
        _explanation(report),
    ]
    sections = [
        "## Clip labels",
        _label_table(report),
        *picture(captions, "labels.png"),
        "## AUC by class (table 4.2)",
        _class_table(report),
        "## Selection of the classifiers (figure 4.5)",
        _choice_table(report),
        *picture(captions, "auc.png"),
        "## Separator",
        *_separator(report),
        *picture(captions, "sdr_per_track.png"),
        *picture(captions, "separator.png"),
        *_post_variants(report),
        *separation_ablation.sections(report["ablations"]),
    ]
    title = "Separation before recognition: Ligtenberg (2022)"
    return pages.compose(title, report, introduction, sections)


def _compared(report: Mapping) -> dict[str, Mapping]:
    """Return the systems that are compared with base."""
    return {name: block for name, block in report["systems"].items() if name != "base"}


def _difference(block: Mapping) -> str:
    """Return the difference in macro AUC from base, with its interval, as text."""
    low, high = map(difference, block["difference_interval"])
    return f"{difference(block['difference'])} [{low}, {high}]"


def verdict(report: Mapping) -> str:
    """Return the verdict on whether separation improved recognition, and the differences in AUC."""
    where = f"on {report['provenance']['dataset']['name']}"
    where += " (rendered music)" if report["clips_rendered"] else ""
    systems = _compared(report)
    improved = [name for name, block in systems.items() if block["difference_interval"][0] > 0]
    degraded = [name for name, block in systems.items() if block["difference_interval"][1] < 0]
    texts = [f"{system} {_difference(block)}" for system, block in systems.items()]
    effect = "helped" if improved else "hurt"
    if report["settings"]["debug"]:
        sentence = "Debug run on tiny data, which does not show whether separation helps"
    elif improved and degraded:
        sentence = (
            f"Separation helped the {' and '.join(improved)} classifier and hurt the "
            f"{' and '.join(degraded)} classifier {where}"
        )
    elif len(systems) in (len(improved), len(degraded)):
        sentence = f"Separation {effect} recognition {where}, with and without postprocessing"
    elif improved or degraded:
        (system,) = improved or degraded
        sentence = (
            f"Separation {effect} the {system} classifier {where}; the other difference is not "
            "significant"
        )
    else:
        sentence = f"Separation made no significant difference {where}"
    return f"{sentence}. Change in macro AUC relative to the original audio: {', '.join(texts)}."


def _question(report: Mapping) -> str:
    target = " + ".join(report["separator"]["target"])
    inputs = {"features": "spectrograms", "audio": "audio, with the phase of the mixture"}
    return (
        f"**Question.** Does a classifier for {len(report['classes'])} instruments reach a higher "
        f"AUC on the first seconds of {report['num_clips']} test clips ({report['num_songs']} "
        f"songs) if it is trained and tested on separated {target} "
        f"({inputs[report['settings']['listen']]}) instead of the full mix?"
    )


def _summary(report: Mapping) -> str:
    reported, rows = ligtenberg.MACRO_AUC, []
    for system, block in report["systems"].items():
        error = block["macro_standard_error"]
        compared, reported_d = ["–", "–", "–"], "–"
        if system != "base":
            share, d = f"{block['share_better']:.0%}", difference(block["macro_d"])
            compared = [_difference(block), share, d]
            reported_d = difference(reported[f"d_{system}"])
        measured = [pages.with_interval(block, "macro"), number(error), number(1.96 * error)]
        cells = [*measured, *compared, _reported(reported[system]), reported_d]
        rows.append([system, _INPUTS[system], *cells])
    header = ["system", "input", "macro AUC [95 %]", "SE", "1.96 SE", "difference from base [95 %]"]
    header += ["better in", "D", "reported AUC", "reported D"]
    caption = (
        "Macro AUC on the test clips by classifier input. Reported: "
        f"{ligtenberg.AUC_CITATION}, on {ligtenberg.AUC_DATASET}."
    )
    return measured_table(_clips(report), caption, header, rows, 2)


def _clips(report: Mapping) -> Mapping:
    """Return the report with ``rendered`` set according to the clips alone."""
    return {**report, "rendered": report["clips_rendered"]}


def _explanation(report: Mapping) -> str:
    lines = [
        "Intervals in brackets are from a paired bootstrap over songs, with the same samples for "
        "all systems. 'Better in' is the share of bootstrap samples in which the system is better "
        "than base. The SE does not account for the dependence between clips of the same song.",
        "SE: standard error after Hanley and McNeil; for the macro AUC, it assumes independent "
        "classes. D = AUC - (AUC of base + both SEs); Ligtenberg considers a system better if D > "
        "0.",
        "The reported half widths after ± cannot be derived from the number of clips. Ligtenberg "
        "chose L2 weight and epoch by the AUC on the test clips; here they are chosen on "
        "validation clips.",
    ]
    if report["rendered"]:
        lines.append("**Rendered audio: not comparable with the reported figures.**")
    return "\n".join(f"- {line}" for line in lines)


def _reported(pair: Sequence[float]) -> str:
    return f"{number(pair[0])} ± {number(pair[1])}"


def _label_table(report: Mapping) -> str:
    rows = []
    for split, block in report["labels"].items():
        shares = [count / block["num_clips"] for count in block["per_class"].values()]
        reported = f"{ligtenberg.NUM_CLIPS[split]:,}", f"{ligtenberg.NUM_LABELS[split]:,}"
        cells = [f"{block['num_clips']:,}", f"{block['num_labels']:,}"]
        rows.append([split, *cells, f"{min(shares):.1%} to {max(shares):.1%}", *reported])
    caption = (
        "Number of clips and labels, and the shares of clips with the rarest and with the most "
        "frequent class; training includes the validation clips. Reported: Ligtenberg 2022, "
        "section 3.1."
    )
    header = ["split", "clips", "labels", "clips per class", "reported clips", "reported labels"]
    return measured_table(_clips(report), caption, header, rows)


def _class_table(report: Mapping) -> str:
    systems, compared, rows = report["systems"], _compared(report), []
    keys = ("auc", "standard_error", "d")  # base has no d
    for k, name in enumerate(class_names(report["classes"])):
        areas = {s: [block[key][k] for key in keys if key in block] for s, block in systems.items()}
        cells = _area_cells(areas, ligtenberg.AUC.get(report["classes"][k]))
        rows.append([name, str(report["num_positives"][k]), *cells])
    keys = ("macro", "macro_standard_error", "macro_d")
    areas = {s: [block[key] for key in keys if key in block] for s, block in systems.items()}
    rows.append(["**macro**", "", *_area_cells(areas, ligtenberg.MACRO_AUC)])
    columns = [*systems, *(f"D({system})" for system in compared)]
    header = ["class", "clips", *columns, *(f"reported: {column}" for column in columns)]
    caption = (
        "AUC ± SE (Hanley-McNeil) on the test clips, with 1.96 SE in brackets, and D relative to "
        "base. A dash marks classes that are in none or in all of the clips."
    )
    if report["rendered"]:
        caption += " Reported values are for recorded music and are not comparable."
    return measured_table(_clips(report), caption, header, rows)


def _area_cells(areas: Mapping[str, Sequence[float]], reported: Mapping | None) -> list[str]:
    """Return the measured and reported cells of a row, given the AUC, SE and D of each system."""
    compared = [system for system in areas if system != "base"]
    cells = [_with_error(auc, error) for auc, error, *_ in areas.values()]
    cells += [difference(areas[system][2]) for system in compared]
    if reported is None:
        return [*cells, *["–"] * (len(areas) + len(compared))]
    cells += [_reported(reported[system]) for system in areas]
    return [*cells, *(difference(reported[f"d_{system}"]) for system in compared)]


def _with_error(auc: float, error: float) -> str:
    if not math.isfinite(auc) or not math.isfinite(error):
        return number(auc)
    return f"{number(auc)} ± {number(error)} ({number(1.96 * error)})"


def _choice_table(report: Mapping) -> str:
    rows = []
    for system, block in report["systems"].items():
        for l2, choice in block["choices"].items():
            selected = "selected" if l2 == block["l2"] else ""
            scores = [number(choice["validation_auc"]), number(choice["validation_loss"], 4)]
            epoch = f"{choice['best_epoch']} of {choice['num_epochs']}"
            best, area = ligtenberg.L2_STUDY[system]
            reported = number(area) if float(best) == float(l2) else "–"
            rows.append([system, f"{float(l2):g}", selected, *scores, epoch, reported])
    header = ["system", "L2", "", "validation AUC", "validation loss", "epoch"]
    header.append("reported test AUC")
    caption = (
        "Classifiers with the same network, clips and budget. Early stopping (patience 50, except "
        "with --quick) and the choice of the epoch use the validation AUC; the L2 weight with the "
        "highest validation AUC is selected. Training and validation clips have no songs in "
        "common. Reported: highest test AUC with the better weight (section 4.2.1); a dash marks "
        "values that are not stated."
    )
    return measured_table(_clips(report), caption, header, rows, 3)


def _separator(report: Mapping) -> list[str]:
    separator = report["separator"]
    dataset, evaluation = separator["dataset"], separator["report"]
    text = (
        f"{separator['name']}, trained on {dataset['name']} {dataset['version']} "
        f"({dataset['config']}{', rendered music' if dataset['rendered'] else ''}); `post`: "
        f"{describe_post(separator)}."
    )
    if not evaluation:
        return [text + " The separator's workdir contains no report."]
    rows = []
    for system in evaluation["systems"]:
        measured = mean_sd(evaluation["summary"][system][_SDR])
        reported = mean_sd(ligtenberg.AMPLITUDE_SDR_DB.get(system, {}))
        rows.append([_SEPARATED.get(system, system), measured, reported])
    caption = (
        f"Amplitude SDR of the separator: mean ± standard deviation over "
        f"{evaluation['num_tracks']} test tracks of {evaluation['dataset']}. Reported: "
        f"{ligtenberg.SDR_CITATION}, on {ligtenberg.SDR_DATASET}."
    )
    if dataset["name"] != "musdb18":
        caption += " The values are not comparable, because the music differs."
    header = ["system", "amplitude SDR, dB", "reported, dB"]
    return [text, measured_table(evaluation, caption, header, rows)]


def _post_variants(report: Mapping) -> list[str]:
    """Return the section that compares references and fills for `post` by amplitude SDR."""
    evaluation = report["separator"]["report"]
    if not evaluation or not evaluation.get("post_variants"):
        return []
    reported = ligtenberg.AMPLITUDE_SDR_DB
    loss_db = reported["post"]["mean"] - reported["raw"]["mean"]
    used = report["separator"]
    header = ["relative to", "removed values become", "", "amplitude SDR, dB", "post - raw, dB"]
    text = (
        f"`post` removes values below {used['post_db']:g} dB. The thesis states neither the "
        "reference of this level nor what replaces the removed values."
    )
    caption = (
        "Amplitude SDR with each interpretation of the postprocessing: mean ± standard deviation "
        f"over {evaluation['num_tracks']} test tracks of {evaluation['dataset']}, and the mean "
        "difference from the network output [95 %, paired]. Reported: "
        f"{mean_sd(reported['post'])} dB, {difference(loss_db, 2)} dB."
    )
    rows = []
    for name, block in evaluation["post_variants"].items():
        reference, fill = name.split(", ")
        chosen = (reference, fill) == (used["post_reference"], used["post_fill"])
        change = _paired(block)
        marked = "used here" if chosen else ""
        rows.append([POST_REFERENCES[reference], POST_FILLS[fill], marked, mean_sd(block), change])
    verdict = _post_verdict(evaluation["post_variants"], loss_db)
    table = measured_table(evaluation, caption, header, rows, 3)
    return ["### Interpretations of the postprocessing", text, table, verdict]


def _paired(block: Mapping) -> str:
    return paired_difference(block["paired"]) if "paired" in block else "–"


def _post_verdict(variants: Mapping[str, Mapping], loss_db: float) -> str:
    """Return a sentence about the variants whose SDR loss is closest to the paper's."""
    changes = {
        name: block["paired"]["difference"]
        for name, block in variants.items()
        if "paired" in block and is_finite(block["paired"]["difference"])
    }
    near = [name for name, value in changes.items() if abs(value - loss_db) < 0.5]
    if not changes:
        return "No track has a score."
    if near:
        names = "; ".join(map(_post_name, near))
        return f"Within 0.5 dB of the reported loss of {-loss_db:.2f} dB: {names}."
    name = min(changes, key=lambda name: abs(changes[name] - loss_db))
    return (
        f"No interpretation comes within 0.5 dB of the reported loss of {-loss_db:.2f} dB; the "
        f"closest one ({_post_name(name)}) changes the SDR by {difference(changes[name], 2)} dB."
    )


def _post_name(variant: str) -> str:
    """Describe an interpretation of the postprocessing, given as 'REFERENCE, FILL'."""
    reference, fill = variant.split(", ")
    return f"relative to {POST_REFERENCES[reference]}, removed values become {POST_FILLS[fill]}"
