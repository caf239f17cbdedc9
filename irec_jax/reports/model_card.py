"""Model cards, which describe packaged recognisers to their users."""

from collections.abc import Mapping, Sequence
from typing import Any

from irec_jax.reports.page import data_name, debug_banner, rendered_banner
from irec_jax.reports.tables import captioned_table, escape, markdown_table
from irec_jax.text import class_names, interval, plural

#: Kind of threshold in a report -> its name in the card.
_THRESHOLDS = {"fixed": "fixed threshold", "validation": "threshold tuned on validation clips"}


def model_card(
    name: str,
    system: Mapping[str, Any],
    *,
    num_parameters: int,
    num_bytes: int,
    command: str | None,
    report: Mapping[str, Any] | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    text: str = "",
) -> str:
    """Return the model card for a recogniser, in Markdown.

    Args:
        name: name of the packaged system.
        system: content of `system.json`.
        num_parameters: number of parameters.
        num_bytes: size of `parameters.npz` in bytes.
        command: command that trains the system, if known.
        report: content of `report.json`, if the system was evaluated.
        fingerprint: content of `dataset.json`, if there is one.
        text: Markdown to append, such as the licence and remarks.
    """
    parts = [
        f"# {escape(name)}",
        f"Recognises {len(system['classes'])} instruments in audio files. To use it with irec-jax:",
        "```bash\nirec recognize song.mp3 --workdir FOLDER\n```",
        *_classes(system),
        *_network(system, num_parameters, num_bytes),
        *_training(system, command),
        *_data(system, fingerprint),
        *(_scores(system, report) if report else ["## Scores", "Not evaluated."]),
        *_limits(system),
        text.strip() or "## Licence\n\nNot stated.",
    ]
    return "\n\n".join(parts) + "\n"


def _classes(system: Mapping[str, Any]) -> list[str]:
    classes = system["classes"]
    listed = [
        escape(full_name if full_name == name else f"{full_name} ({name})")
        for name, full_name in zip(classes, class_names(classes), strict=True)
    ]
    return ["## Classes", f"{', '.join(listed)}."]


def _network(system: Mapping[str, Any], num_parameters: int, num_bytes: int) -> list[str]:
    config, thresholds = system["config"], system["thresholds"]
    score = f"`{system['aggregation']}` of windows every {system['hop_s']:g} s"
    if max_decay_db := system.get("max_decay_db"):
        score += f", without silence and decays (more than {max_decay_db:g} dB softer than before)"
    rows = [
        ("audio", f"mono, {system['sample_rate_hz']:,} Hz, windows of {system['window_s']:g} s"),
        ("front end", _settings(system["frontend"])),
        ("network", _settings(config["model"])),
        ("loss", _settings(config["loss"])),
        ("parameters", f"{num_parameters:,} ({num_bytes / 1e6:.1f} MB in float16)"),
        ("clip score", score),
        ("thresholds", _settings(thresholds)),
    ]
    return ["## Input and network", markdown_table(["", ""], rows, 2)]


def _training(system: Mapping[str, Any], command: str | None) -> list[str]:
    parts = ["## Training"]
    if command:
        parts.append(f"```bash\n{command}\n```")
    versions = system.get("versions", {})
    known = [f"{key} {versions[key]}" for key in ("irec-jax", "jax", "flax") if key in versions]
    made_with = f" The system was trained with {', '.join(known)}." if known else ""
    return [*parts, f"`system.json` contains the complete config.{made_with}"]


def _data(system: Mapping[str, Any], fingerprint: Mapping[str, Any] | None) -> list[str]:
    parts = ["## Data"]
    if dataset := system.get("dataset"):
        kind = "rendered audio, not recordings" if dataset["rendered"] else "recordings"
        parts.append(f"{data_name(dataset)}: {kind}.")
    if fingerprint:
        rows = [
            (split, f"{sizes['num_examples']:,}", f"`{sizes['digest']}`")
            for split, sizes in fingerprint["splits"].items()
        ]
        caption = (
            "Fingerprints of the splits: digests of the names, labels and lengths of the examples. "
            f"Songs in both training and test: {fingerprint['num_shared']}."
        )
        parts.append(captioned_table(caption, ["split", "examples", "digest"], rows))
    return parts


def _scores(system: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    rows = [
        (f"{average} F1, {text}", interval(block["f1"], block["f1_interval"]))
        for kind, text in _THRESHOLDS.items()
        for average in ("micro", "macro")
        for block in [report["thresholds"][kind][average]]
    ]
    predominant = report["predominant"]
    if predominant["num_clips"]:
        accuracy = interval(predominant["accuracy"], predominant["accuracy_interval"])
        rows.append(
            (f"accuracy, {plural(predominant['num_clips'], 'clip')} with one label", accuracy)
        )
    dataset = report["provenance"]["dataset"]
    caption = (
        f"Scores on the test split of {data_name(dataset)} ({dataset['split']}), "
        "with 95 % intervals bootstrapped over songs."
    )
    table = captioned_table(caption, ["score", "value"], rows)
    per_class = report["thresholds"]["fixed"]["per_class"]
    class_rows = [
        (
            escape(full_name),
            str(block["num_positives"]),
            interval(block["f1"], block["f1_interval"]),
        )
        for full_name, block in _by_name(report["classes"], per_class)
    ]
    caption = "Number of test clips with each class, and F1 at the fixed threshold."
    return [
        "## Scores",
        *rendered_banner(report),
        *debug_banner(report),
        table,
        captioned_table(caption, ["class", "clips", "F1 [95 %]"], class_rows),
        *(escape(note) for note in report["notes"]),
        *_calibration(system),
    ]


def _calibration(system: Mapping[str, Any]) -> list[str]:
    if "calibration" not in system:
        return []
    error = system["calibration"]["error"]
    rows = [
        (when, f"{error[when]['all']:.3f}", f"{error[when]['strongest']:.3f}")
        for when in ("before", "after")
    ]
    caption = (
        "Expected calibration error on the test clips, before and after calibration on the "
        "validation clips. The scores above were measured before calibration."
    )
    head = ["calibration", "all classes", "most probable class of each clip"]
    return [captioned_table(caption, head, rows)]


def _by_name(
    classes: Sequence[str], blocks: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, Mapping[str, Any]]]:
    return [(text, blocks[name]) for name, text in zip(classes, class_names(classes), strict=True)]


def _limits(system: Mapping[str, Any]) -> list[str]:
    lines = [
        "The system recognises only the classes above and assigns any other sound to the most "
        "similar class.",
        _probabilities(system),
        f"Frequencies above {system['sample_rate_hz'] / 2000:g} kHz are ignored.",
        "Parameters are rounded to float16, which changes probabilities by less than 0.01.",
    ]
    if system.get("dataset", {}).get("rendered"):
        lines.insert(
            0,
            "The system was trained on rendered audio; expect lower scores on recordings than "
            "those above.",
        )
    return ["## Limits", "\n".join(f"- {line}" for line in lines)]


def _probabilities(system: Mapping[str, Any]) -> str:
    if "calibration" in system:
        return (
            "Scores are calibrated on the validation clips and are less reliable for other music."
        )
    return (
        "A score is not the probability that an instrument plays. The thresholds were chosen for "
        "the data above and may be less suitable for other music."
    )


def _settings(settings: Mapping[str, Any]) -> str:
    """Format the name and the other settings of a config section."""
    values = {key: value for key, value in settings.items() if key != "name"}
    listed = ", ".join(f"{key} {_value(value)}" for key, value in values.items())
    name = f"`{settings['name']}`" if "name" in settings else ""
    return ": ".join(filter(None, [name, escape(listed)]))


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
