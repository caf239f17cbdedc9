"""Folders in the layout of MedleyDB, with noise as their tracks."""

import numpy as np
import soundfile
import yaml

RATE_HZ = 44_100


def write(path, seed, *, seconds=0.2, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = rng.integers(-3000, 3000, (round(seconds * RATE_HZ), channels)).astype(np.int16)
    soundfile.write(path, samples, RATE_HZ)
    return samples / 32_768


def write_medleydb_piece(folder, name, stems, *, seed=0, **metadata):
    """Write a piece; stems are pairs of an instrument and the instruments of its raw tracks."""
    root, entries = folder / name, {}
    for i, (instrument, raw_instruments) in enumerate(stems, 1):
        file = f"{name}_STEM_{i:02}.wav"
        write(root / f"{name}_STEMS" / file, (seed, i), channels=2)
        raw = {}
        for j, raw_instrument in enumerate(raw_instruments, 1):
            raw_file = f"{name}_RAW_{i:02}_{j:02}.wav"
            write(root / f"{name}_RAW" / raw_file, (seed, i, j))
            raw[f"R{j:02}"] = {"filename": raw_file, "instrument": raw_instrument}
        entries[f"S{i:02}"] = {
            "component": "", "filename": file, "instrument": instrument, "raw": raw,
        }  # fmt: skip
    write(root / f"{name}_MIX.wav", (seed, 99), channels=2)
    content = {
        "artist": "An Artist", "has_bleed": "no", "mix_filename": f"{name}_MIX.wav",
        "raw_dir": f"{name}_RAW", "stem_dir": f"{name}_STEMS", "stems": entries,
    }  # fmt: skip
    (root / f"{name}_METADATA.yaml").write_text(yaml.safe_dump(content | metadata))
    return root
