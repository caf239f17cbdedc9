"""`irec gallery` on a folder of sounds: choice of clips, images and error messages."""

import numpy as np
import pytest
import soundfile

from irec_jax import cli, frontends
from irec_jax.cli.console import run_command
from irec_jax.data import Dataset
from irec_jax.errors import UserError
from irec_jax.reports import gallery

RATE_HZ = 22_050


def call(*words):
    """Run `irec gallery` in this process and return its exit code."""

    return run_command(lambda: cli.run(["gallery", *words]))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Folder with long, short and silent sounds of three classes."""
    folder = tmp_path_factory.mktemp("gallery") / "sounds"
    rng = np.random.default_rng(0)
    for name, lengths_s in (("gel", [3.5, 0.2]), ("歌 $x$", [0.1]), ("pia", [0.3, 0.2, 0.1])):
        (folder / "train" / name).mkdir(parents=True)
        for number, length_s in enumerate(lengths_s):
            sound = rng.uniform(-0.5, 0.5, round(length_s * RATE_HZ))
            soundfile.write(folder / "train" / name / f"{number}.wav", sound, RATE_HZ)
    soundfile.write(folder / "train/pia/silent.wav", np.zeros(2000), RATE_HZ)
    (folder / "test/pia").mkdir(parents=True)
    soundfile.write(folder / "test/pia/other.wav", 0.1 * np.ones(2000), RATE_HZ)
    return folder


def read(sounds, name):
    """Return the first three seconds of a stored clip, normalised to its peak."""
    clip, _ = soundfile.read(sounds / name, dtype="int16")
    waveform = np.zeros(3 * RATE_HZ, np.float32)
    start = clip[: 3 * RATE_HZ].astype(np.float64)
    waveform[: len(start)] = start / max(1, np.abs(clip.astype(int)).max())
    return waveform


def drawn(figure):
    """Return a dict from captions to image arrays, and the row labels."""
    pictures, names, caption = {}, [], None
    for axes in figure.axes:
        if not axes.axison or not axes.images:
            continue
        caption = axes.get_title(loc="left") or caption
        pictures.setdefault(caption, []).append(np.asarray(axes.images[0].get_array()))
        names += [axes.get_ylabel()] if axes.get_ylabel() else []
    return pictures, names


SETTINGS = {
    "stacked": dict(side=258),
    "recurrence": dict(exponents=(15, 16)),
    "log_mel": dict(sample_rate_hz=RATE_HZ),
    "spectrogram_db": dict(frame_length=2048, hop_length=525, num_bins=1024, num_frames=126),
}


@pytest.mark.parametrize("image", SETTINGS)
def test_images_match_the_output_of_the_front_end(sounds, image):
    dataset = dict(name="folder", path=str(sounds))
    figure = gallery.draw(dataset, image=image, num_per_class=3)
    pictures, names = drawn(figure)
    assert names == ["electric\nguitar", "piano", "歌 $x$"]
    by_class = [sum(name in caption for caption in pictures) for name in ("/gel/", "/pia/")]
    assert by_class == [2, 3] and len(pictures) == 6
    frontend = frontends.create(image, **SETTINGS[image])
    for caption in ("train/gel/0.wav", "train/gel/1.wav", "train/歌 $x$/0.wav"):
        expected = np.asarray(frontend(read(sounds, caption)))
        if image in ("log_mel", "spectrogram_db"):
            expected = (expected.T if image == "log_mel" else expected)[::-1]
        expected = expected.reshape(-1, *expected.shape[-2:])
        np.testing.assert_allclose(pictures[caption], expected, atol=1e-5)
    assert "folder/" in figure.get_suptitle() and "recordings" in figure.get_suptitle()


def test_recurrence_plots_span_the_same_time_at_any_sample_rate():
    _, kind = gallery.IMAGES["recurrence"]
    assert kind(44_100).frontend.exponents == (16, 17)
    assert kind(22_050).frontend.exponents == (15, 16)
    assert kind(44_100).extents == kind(22_050).extents


def test_gallery_is_written_to_a_folder_or_a_file(sounds, tmp_path, capsys):
    words = ["--dataset=folder", f"--path={sounds}", "--num_per_class=1"]
    assert call(*words, "--classes=piano", f"--out={tmp_path / 'new'}") == 0
    path = tmp_path / "new" / "gallery-folder-stacked.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.endswith(f"gallery in {path}\n")
    file = tmp_path / "one.svg"
    assert call(*words, "--classes=pia, 歌 $x$", f"--out={file}") == 0
    assert b"<svg" in file.read_bytes()
    capsys.readouterr()
    original = file.read_bytes()
    assert call(*words, "--classes=pia", f"--out={file}") == 1
    assert (
        "one.svg: already exists; choose another file or set --overwrite" in capsys.readouterr().err
    )
    assert call(*words, "--classes=pia,gle", f"--out={file}", "--overwrite") == 1
    assert "unknown class 'gle': did you mean 'gel'?" in capsys.readouterr().err
    assert file.read_bytes() == original
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new", "one.svg"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--image=stackd"], "unknown --image 'stackd': did you mean 'stacked'"),
        (["--num_per_class=0"], "--num-per-class=0: expected 1 to 12"),
        (["--seed=-1"], "--seed=-1: expected a non-negative integer"),
        (["--dataset=gmirmas"], "unknown --dataset 'gmirmas': did you mean 'gm_irmas'"),
        (["--dataset=gm_multitrack"], "'gm_multitrack': holds multitrack pieces"),
        (["--dataset=folder"], "folder: no path given; set --path to a folder"),
        (["--dataset=irmas", "--size=tiny"], "unknown argument 'size' of dataset 'irmas'"),
        (["--format=mono"], "unknown --format 'mono'"),
        (["--out=picture.jpg"], "--out picture.jpg: expected a name that ends with .png"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert call(*words) == 1
    printed = capsys.readouterr()
    assert message in printed.err and len(printed.err.strip().splitlines()) == 1 and not printed.out
    assert not any(tmp_path.iterdir())


def test_too_many_classes_are_rejected(sounds, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gallery, "MAX_CLASSES", 2)
    assert call("--dataset=folder", f"--path={sounds}", f"--out={tmp_path / 'a.png'}") == 1
    assert "folder: 3 classes, but a gallery shows 1 to 2; choose some" in capsys.readouterr().err


def test_classes_without_clips_are_omitted_or_reported(tone_clips, monkeypatch):
    clips = tone_clips(num_clips=6)
    clips.labels[:, 1] = 0
    dataset = Dataset(
        name="gm_irmas",
        version="1.0.0",
        config="tiny",
        rendered=True,
        classes=("cel", "cla", "drum $et"),
        num_classes=3,
        sample_rate_hz=8000,
        train=clips,
        test=None,
    )
    monkeypatch.setattr(gallery.data, "load", lambda settings: dataset)
    figure = gallery.draw(dict(name="gm_irmas"), num_per_class=1)
    assert drawn(figure)[1] == ["cello", "drum $et"] and "(rendered music)" in figure.get_suptitle()
    with pytest.raises(UserError, match="class 'cla': no training clips in gm_irmas"):
        gallery.draw(dict(name="gm_irmas"), classes=["cello", "clarinet"])


def test_choice_prefers_single_label_clips_and_new_songs(tone_clips):
    clips = tone_clips(num_clips=24)  # of class 0: 0, 3, ... 21, two clips in a song
    column = np.flatnonzero(clips.labels[:, 0])
    clips.labels[column[:2], 1] = 1  # 0 and 3, of one song, show two classes
    for seed in range(5):
        chosen = gallery.choose(clips, 0, 100, seed=seed)
        assert sorted(chosen) == list(column)
        assert set(chosen[-2:]) == set(column[:2])
        assert len(set(clips.songs[chosen[:3]])) == 3
    assert len({tuple(gallery.choose(clips, 0, 4, seed=seed)) for seed in range(10)}) > 5
    np.testing.assert_array_equal(
        gallery.choose(clips, 0, 2, seed=3), gallery.choose(clips, 0, 5, seed=3)[:2]
    )
