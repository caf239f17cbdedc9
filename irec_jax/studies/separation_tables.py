"""The report of the separation study as a page: what came out, table 4.2, and what is behind it."""

import math
from collections.abc import Mapping, Sequence

from irec_jax.labels import IRMAS_NAMES
from irec_jax.reports.page import failed_runs, provenance_table, rendered_banner
from irec_jax.reports.tables import markdown_table
from irec_jax.reports.text import difference, interval, mean_sd, number
from irec_jax.studies.published import ligtenberg

_SDR = "amplitude_sdr_db"
_HEARS = {
    "base": "the clips as they are",
    "raw": "what the separator gives",
    "post": "the same, postprocessed",
}
_SEPARATED = {"mixture": "mixture (do nothing)", "ideal": "ideal ratio mask (upper bound)"}


def page(report: Mapping, *, pictures: Sequence[str]) -> str:
    """Markdown of a study's report; see `studies.separation`."""

    def picture(name: str, caption: str) -> list[str]:
        return [f"![{caption}]({name})"] if name in pictures else []

    parts = [
        "# Separation before recognition: Ligtenberg (2022)",
        *rendered_banner(report),
        _asked(report),
        f"**{verdict(report)}**",
        _summary(report),
        _explanation(report),
        *failed_runs(report["failures"]),
        "## By class: table 4.2",
        _by_class_text(report),
        _class_table(report),
        *picture("roc.png", "ROC curves by class"),
        "## How the classifiers were chosen",
        _choice_text(report),
        _choice_table(report),
        "## The separator",
        *_separator(report),
        *picture("sdr_per_track.png", "amplitude SDR by track"),
        *picture("separator.png", "loss of the separator by epoch"),
        *_ablations(report),
        *picture("ablations.png", "loss of the variants by epoch"),
        "## Provenance",
        provenance_table(report["provenance"]),
    ]
    return "\n\n".join(parts) + "\n"


def verdict(report: Mapping) -> str:
    """One sentence: whether separation helped recognition there."""
    where = f"on {report['provenance']['dataset']['name']}"
    where += ", rendered music," if report["clips_rendered"] else ""
    splits, texts = {}, []
    for system, one in report["systems"].items():
        if system == "base":
            continue
        low, high = one["difference_interval"]
        splits[system] = 1 if low > 0 else -1 if high < 0 else 0
        ends = f"[{difference(low)}, {difference(high)}]"
        texts.append(f"{system} {difference(one['difference'])} {ends}")
    numbers = f"macro AUC against the original audio: {', '.join(texts)}"
    if report["settings"]["debug"]:
        return (
            f"A trial on tiny data, which says nothing about whether separation helped ({numbers})."
        )
    helped = [system for system, side in splits.items() if side > 0]
    hurt = [system for system, side in splits.items() if side < 0]
    if helped and hurt:
        said = f"Separation helped {' and '.join(helped)} and hurt {' and '.join(hurt)} {where}"
    elif len(helped) == len(splits):
        said = f"Separation helped {where} with and without postprocessing"
    elif len(hurt) == len(splits):
        said = f"Separation hurt {where} with and without postprocessing"
    elif helped or hurt:
        (system,) = helped or hurt
        word = "helped" if helped else "hurt"
        said = f"Separation {word} {where} as {system}; the other can be chance"
    else:
        said = f"Separation made no difference {where} that could not be chance"
    return f"{said} ({numbers})."


def _asked(report: Mapping) -> str:
    brief = ""
    if report["settings"]["debug"]:
        brief = " **A trial on tiny data: the numbers mean nothing.**"
    elif report["settings"]["quick"]:
        brief = " Networks were trained briefly (--quick)."
    target = " + ".join(report["separator"]["target"])
    listens = {"features": "as spectrograms", "audio": "as sound, with the phase of the mixture"}
    listen = listens[report["settings"]["listen"]]
    return (
        f"Asked: does a classifier of {len(report['classes'])} instruments rank the first seconds "
        f"of {report['num_clips']} test clips ({report['num_songs']} songs) better when it learned "
        f"and hears {target} alone, {listen}, than when it hears all?" + brief
    )


def _summary(report: Mapping) -> str:
    reported = ligtenberg.MACRO_AUC
    rows = []
    for system, one in report["systems"].items():
        error = one["macro_standard_error"]
        d, share, more = "–", "–", "–"
        if system != "base":
            d, share = difference(one["macro_d"]), f"{one['share_better']:.0%}"
            low, high = one["difference_interval"]
            more = f"{difference(one['difference'])} [{difference(low)}, {difference(high)}]"
        rows.append(
            [
                system,
                _HEARS[system],
                interval(one["macro"], one["macro_interval"]),
                number(error),
                number(1.96 * error),
                more,
                share,
                d,
                _reported(reported[system]),
                "–" if system == "base" else difference(reported[f"d_{system}"]),
            ]
        )
    header = ["system", "hears", "macro AUC [95 %]", "SE", "1.96 SE", "against base [95 %]"]
    header += ["better in", "D", "reported AUC", "reported D"]
    return markdown_table(header, rows, 2)


def _explanation(report: Mapping) -> str:
    lines = [
        "Intervals in brackets: paired bootstrap over songs, all systems on the same draws; "
        "'better in' is the share of the draws. Clips of a song are not independent, which SE "
        "does not know.",
        "SE: Hanley and McNeil's standard error, of the macro AUC as if classes were independent. "
        "D = AUC - (AUC of base + both SE), the source's: above 0 it takes a system to be better.",
        f"Reported: {ligtenberg.AUC_CITATION}, on {ligtenberg.AUC_DATASET}; the "
        "half widths after ± cannot be derived from that number of clips. Ligtenberg chose L2 "
        "weight and epoch by the AUC of the test clips; here they are chosen on validation clips.",
    ]
    if report["rendered"]:
        lines.append(
            "**Rendered audio: what was reported stands beside, and cannot be compared with ours.**"
        )
    return "\n".join(f"- {line}" for line in lines)


def _reported(pair: Sequence[float]) -> str:
    return f"{number(pair[0])} ± {number(pair[1])}"


def _by_class_text(report: Mapping) -> str:
    text = (
        "AUC ± SE (Hanley-McNeil), in brackets 1.96 SE; D against base. A dash: no clip, or every "
        "clip, has the class."
    )
    if report["rendered"]:
        text += " Reported values are of recorded music, ours of rendered: no comparison."
    return text


def _class_table(report: Mapping) -> str:
    systems, rows = report["systems"], []
    for k, name in enumerate([*report["classes"], "macro"]):
        macro = k == len(report["classes"])
        row = ["**macro**" if macro else IRMAS_NAMES.get(name, name)]
        row.append("" if macro else str(report["num_positives"][k]))
        for one in systems.values():
            auc = one["macro"] if macro else one["auc"][k]
            error = one["macro_standard_error"] if macro else one["standard_error"][k]
            row.append(_with_error(auc, error))
        for system in list(systems)[1:]:
            d = systems[system]["macro_d"] if macro else systems[system]["d"][k]
            row.append(difference(d))
        known = ligtenberg.MACRO_AUC if macro else ligtenberg.AUC.get(name)
        row += [_reported(known[system]) if known else "–" for system in systems]
        row += [difference(known[f"d_{s}"]) if known else "–" for s in list(systems)[1:]]
        rows.append(row)
    header = ["class", "clips", *systems, *(f"D({s})" for s in list(systems)[1:])]
    header += [f"reported: {s}" for s in systems]
    header += [f"reported: D({s})" for s in list(systems)[1:]]
    return markdown_table(header, rows)


def _with_error(auc: float, error: float) -> str:
    if not math.isfinite(auc) or not math.isfinite(error):
        return number(auc)
    return f"{number(auc)} ± {number(error)} ({number(1.96 * error)})"


def _choice_text(report: Mapping) -> str:
    return (
        "All classifiers had the same network, clips and budget. Of each run the epoch with the "
        "lowest validation loss was kept, of several L2 weights the one with the highest AUC of "
        "the validation clips. Songs that validate do not train."
    )


def _choice_table(report: Mapping) -> str:
    rows = []
    for system, one in report["systems"].items():
        for l2, choice in one["choices"].items():
            rows.append(
                [
                    system,
                    f"{float(l2):g}",
                    "kept" if l2 == one["l2"] else "",
                    number(choice["validation_auc"]),
                    number(choice["validation_loss"], 4),
                    f"{choice['best_epoch']} of {choice['num_epochs']}",
                ]
            )
    header = ["system", "L2", "", "validation AUC", "validation loss", "epoch"]
    return markdown_table(header, rows, 3)


def _separator(report: Mapping) -> list[str]:
    separator, found = report["separator"], report["separator"]["report"]
    dataset = separator["dataset"]
    text = (
        f"{separator['name']}, trained on {dataset['name']} {dataset['version']} "
        f"({dataset['config']}{', rendered music' if dataset['rendered'] else ''}); `post` removes "
        f"what lies below {separator['post_db']:g} dB."
    )
    if not found:
        return [text + " Its workdir holds no report."]
    known = ligtenberg.AMPLITUDE_SDR_DB
    rows = [
        [
            _SEPARATED.get(system, system),
            mean_sd(found["summary"][system][_SDR]),
            mean_sd(known[system]) if system in known else "–",
        ]
        for system in found["systems"]
    ]
    header = ["system", "amplitude SDR, dB", "reported, dB"]
    beside = (
        f"Mean ± standard deviation over {found['num_tracks']} test tracks of {found['dataset']}; "
        f"reported: {ligtenberg.SDR_CITATION}, on {ligtenberg.SDR_DATASET}."
    )
    if dataset["name"] != "musdb18":
        beside += " Other music: no comparison."
    return [text, markdown_table(header, rows), beside]


def _ablations(report: Mapping) -> list[str]:
    if not report["ablations"]:
        return []
    rows = []
    for name, one in report["ablations"].items():
        best = one["best_epoch"]
        rows.append(
            [
                name,
                f"{best['epoch']} of {len(one['history'])}",
                number(best["train_loss"], 4),
                number(best["valid_loss"], 4),
                number(best.get("valid_amplitude_sdr"), 2),
                mean_sd(one["summary"]["raw"][_SDR]),
            ]
        )
    header = ["variant", "epoch", "training loss", "validation loss"]
    header += ["validation SDR of segments, dB", "test amplitude SDR, dB"]
    text = (
        "Figure 4.1 of the source: the direct output as it is, with dilated convolutions, with 50 "
        "% dropout in the first three layers of the encoder, and with the mean squared error, "
        "whose loss is on another scale."
    )
    return ["## Variants of the direct output", text, markdown_table(header, rows)]
