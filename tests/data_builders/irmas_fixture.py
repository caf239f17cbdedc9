"""A small copy of IRMAS: its layout with all irregularities, and noise instead of music."""

import hashlib
import zipfile

import numpy as np
import soundfile

RATE_HZ = 44_100
#: Training clips: folder, name. Songs 670 and 774 have the same audio (`SAME`), as do 672 and 757.
TRAINING = (
    ("cel", "[cel][cla]0058__1.wav"),
    ("cel", "[cel][cla]0058__2.wav"),
    ("cel", "008__[cel][nod][cla]0058__3.wav"),
    ("cla", "[cla][cla]0150__1.wav"),
    ("cla", "[cla][dru][jaz_blu]0151__1.wav"),
    ("gac", "[gac][---][cou_fol]0670__1.wav"),
    ("gac", "[gac][pop_roc]0774__1.wav"),
    ("gac", "[gac][pop_roc]0672__1.wav"),
    ("gel", "[gel][dru][pop_roc]0757__1.wav"),
    ("voi", "[voi][nod][lat_sou]2312__1.wav"),
)
SAME = {
    "[gac][pop_roc]0774__1.wav": "[gac][---][cou_fol]0670__1.wav",
    "[gel][dru][pop_roc]0757__1.wav": "[gac][pop_roc]0672__1.wav",
}
#: Test clips: part, name, content of the label file.
TEST = (
    (1, "(02) dont kill the whale-1", "gel\t\nvoi\t\n"),
    (1, "(02) dont kill the whale-12", "gel\t\r\nvoi\t\r\n"),
    (1, "Beyoncé - Sí [live] 'x'-3", "voi\t\n"),
    (1, "a__b-1", "pia"),
    (2, "Lali Puna - Faking the Books-1", "voi\t\n"),
    (2, "Lali Puna - Faking the Books-2", "voi\t\ngel\t\n"),
    (2, "Lali Puna - Faking the Books-3", "pia\t\n"),
    (3, "12. Mr. No-4", "\ufefforg\t\n\n"),
    (3, "12. Mr. No-5", "org\t\norg\t\n"),
)
SAME_TEST = {"Lali Puna - Faking the Books-2": "Lali Puna - Faking the Books-1"}
FOLDERS = {
    1: "IRMAS-TestingData-Part1/Part1",
    2: "IRMAS-TestingData-Part2/IRTestingData-Part2",
    3: "IRMAS-TestingData-Part3/Part3",
}
NAMES = ("IRMAS-TrainingData", *(f"IRMAS-TestingData-Part{part}" for part in FOLDERS))
NUM_TEST = {part: sum(p == part for p, _, _ in TEST) for part in FOLDERS}


def num_training(classes):
    """Return the number of clips per class, in the form of `Irmas.NUM_TRAINING`."""
    return {name: sum(folder == name for folder, _ in TRAINING) for name in classes}


def samples(name):
    """Return int16 (T, 2), different for every clip except those listed as identical."""
    name = SAME.get(name, SAME_TEST.get(name, name))
    generator = np.random.default_rng(list(name.encode()))
    seconds = 0.3 if name.endswith(".wav") else 0.5
    return generator.integers(-9_000, 9_000, (int(RATE_HZ * seconds), 2)).astype(np.int16)


def write_unpacked(root):
    """Write the four folders."""
    for folder, name in TRAINING:
        path = root / "IRMAS-TrainingData" / folder
        path.mkdir(parents=True, exist_ok=True)
        soundfile.write(path / name, samples(name), RATE_HZ)
    for part, name, labels in TEST:
        path = root / FOLDERS[part]
        path.mkdir(parents=True, exist_ok=True)
        soundfile.write(path / f"{name}.wav", samples(name), RATE_HZ)
        (path / f"{name}.txt").write_bytes(labels.encode())
    for junk in ("IRMAS-TrainingData/.DS_Store", "IRMAS-TrainingData/cel/._x.wav"):
        (root / junk).write_bytes(b"junk")
    (root / "IRMAS-TrainingData/README.txt").write_text("Read me.")


def write_zips(root, unpacked):
    """Pack the folders like the original zips and return their MD5 sums by name."""
    root.mkdir(parents=True, exist_ok=True)
    sums = {}
    for name in NAMES:
        with zipfile.ZipFile(root / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted((unpacked / name).rglob("*")):
                archive.write(path, path.relative_to(unpacked))
            archive.writestr(f"__MACOSX/{name}/cel/._a.wav", b"junk")
        sums[name] = md5(root / f"{name}.zip")
    return sums


def md5(path):
    """Return the hexadecimal MD5 sum of a file."""
    return hashlib.md5(path.read_bytes()).hexdigest()
