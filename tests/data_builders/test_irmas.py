"""IRMAS builder on a small copy with all irregularities of the original."""

import functools
import http.server
import os
import re
import shutil
import threading
import zipfile

import irmas_fixture
import numpy as np
import pytest
import soxr

import data_builders
from data_builders.common import archives
from data_builders.irmas import builder as irmas
from irec_jax.errors import UserError
from irec_jax.labels import IRMAS

ORIGINAL = irmas.Irmas.NUM_TRAINING, irmas.Irmas.NUM_TEST, irmas.Irmas.MD5


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    root = tmp_path_factory.mktemp("unpacked")
    irmas_fixture.write_unpacked(root)
    return root


@pytest.fixture(scope="module")
def zips(tmp_path_factory, unpacked):
    root = tmp_path_factory.mktemp("zips")
    return root, irmas_fixture.write_zips(root, unpacked)


@pytest.fixture(autouse=True)
def miniature(monkeypatch, zips):
    """Replace the checksums and counts of the original by those of the small copy."""
    monkeypatch.setattr(irmas.Irmas, "MD5", zips[1])
    monkeypatch.setattr(irmas.Irmas, "NUM_TRAINING", irmas_fixture.num_training(IRMAS))
    monkeypatch.setattr(irmas.Irmas, "NUM_TEST", irmas_fixture.NUM_TEST)
    monkeypatch.setattr(irmas, "_URL", "http://127.0.0.1:9/files")  # no server on this port


def clips_of(builder, split):
    names = builder.info.features
    clips = {}
    for clip in builder.as_data_source(split):
        clip["labels"] = [names["labels"].feature.int2str(int(i)) for i in clip["labels"]]
        clip["drums"] = names["drums"].int2str(int(clip["drums"]))
        clip["genre"] = names["genre"].int2str(int(clip["genre"]))
        clips[clip["id"].decode()] = clip
    return clips


@pytest.mark.parametrize("form", ["zips", "unpacked", "one level down"])
def test_all_clips_are_read_from_every_layout_of_the_manual_folder(tmp_path, unpacked, zips, form):
    manual = {"zips": zips[0], "unpacked": unpacked, "one level down": tmp_path / "manual"}[form]
    if form == "one level down":
        shutil.copytree(unpacked, manual / "IRMAS")
        parts = manual / "IRMAS"
        # the result of unpacking the parts without their outer folder
        for part, folder in irmas_fixture.FOLDERS.items():
            shutil.move(parts / folder, parts / folder.split("/")[1])
            shutil.rmtree(parts / f"IRMAS-TestingData-Part{part}")
    builder = data_builders.prepare(
        "irmas", data_dir=tmp_path / "data", manual_dir=manual, format="stereo44k"
    )
    train, test = clips_of(builder, "train"), clips_of(builder, "test")

    assert set(train) == {f"{f}/{n[:-4]}" for f, n in irmas_fixture.TRAINING}
    for folder, name in irmas_fixture.TRAINING:
        clip = train[f"{folder}/{name[:-4]}"]
        assert clip["labels"] == [folder] and clip["part"] == 0
        np.testing.assert_array_equal(clip["audio"], irmas_fixture.samples(name))
    tags = {key: (c["drums"], c["genre"]) for key, c in train.items()}
    assert tags["cel/[cel][cla]0058__1"] == ("unknown", "cla")
    assert tags["cel/008__[cel][nod][cla]0058__3"] == ("no", "cla")
    assert tags["cla/[cla][cla]0150__1"] == ("unknown", "cla")
    assert tags["cla/[cla][dru][jaz_blu]0151__1"] == ("yes", "jaz_blu")
    assert tags["gac/[gac][---][cou_fol]0670__1"] == ("unknown", "cou_fol")
    songs = {key: clip["song"].decode() for key, clip in train.items()}
    assert songs["gac/[gac][pop_roc]0774__1"] == songs["gac/[gac][---][cou_fol]0670__1"] == "0670"
    assert songs["gel/[gel][dru][pop_roc]0757__1"] == songs["gac/[gac][pop_roc]0672__1"]
    assert songs["voi/[voi][nod][lat_sou]2312__1"] == "2311"
    assert songs["cel/008__[cel][nod][cla]0058__3"] == "0058"

    assert set(test) == {f"part{part}/{name}" for part, name, _ in irmas_fixture.TEST}
    for part, name, text in irmas_fixture.TEST:
        clip = test[f"part{part}/{name}"]
        assert set(clip["labels"]) == set(re.findall("[a-z]{3}", text)) and clip["part"] == part
        assert len(clip["labels"]) == len(set(clip["labels"]))
        np.testing.assert_array_equal(clip["audio"], irmas_fixture.samples(name))
        assert clip["song"].decode() == name.rpartition("-")[0]
    flagged = {key for key, clip in (train | test).items() if clip["contradictory"]}
    assert flagged == {
        "part2/Lali Puna - Faking the Books-1",
        "part2/Lali Puna - Faking the Books-2",
        "gac/[gac][pop_roc]0672__1",
        "gel/[gel][dru][pop_roc]0757__1",
    }


def test_mono22k_is_the_resampled_mean(tmp_path, unpacked):
    builder = data_builders.prepare("irmas", data_dir=tmp_path, manual_dir=unpacked)
    clips = clips_of(builder, "train")
    for folder, name in irmas_fixture.TRAINING[:3]:
        mean = irmas_fixture.samples(name).astype(np.float32).mean(1) / 32768
        expected = soxr.resample(mean, 44_100, 22_050)
        samples = clips[f"{folder}/{name[:-4]}"]["audio"]
        assert samples.dtype == np.int16 and samples.shape == (len(expected), 1)
        assert np.abs(samples[:, 0] - 32768 * expected).max() < 0.51


def test_counts_and_checksums_of_the_original():
    training, test, sums = ORIGINAL
    assert sum(training.values()) == 6_705 and training["voi"] == 778 and training["cel"] == 388
    assert sum(test.values()) == 2_874
    assert len(sums) == 4 and all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in sums.values())
    assert len(irmas._MERGED_SONGS) == 19
    assert all(new < old for old, new in irmas._MERGED_SONGS.items())
    assert not set(irmas._MERGED_SONGS) & set(irmas._MERGED_SONGS.values())


def copy_manual(tmp_path, source):
    return shutil.copytree(source, tmp_path / "manual")


def check_error(tmp_path, manual, *expected):
    with pytest.raises(UserError) as error:
        data_builders.prepare("irmas", data_dir=tmp_path / "data", manual_dir=manual)
    for words in expected:
        assert words in str(error.value)
    assert "\n" not in str(error.value)
    names = [path.name for path in (tmp_path / "data").rglob("*")]
    assert not {"1.0.0", "dataset_info.json"} & set(names)  # no folder of a complete dataset
    assert not [name for name in names if "incomplete" in name]


def test_missing_test_zips_are_reported(tmp_path, zips):
    (tmp_path / "manual").mkdir()
    shutil.copy(zips[0] / "IRMAS-TrainingData.zip", tmp_path / "manual")
    check_error(
        tmp_path, tmp_path / "manual", "missing IRMAS-TestingData-Part1.zip, ", "Part3.zip;"
    )


def test_empty_or_missing_manual_folder_is_rejected(tmp_path):
    (tmp_path / "manual").mkdir()
    check_error(tmp_path, tmp_path / "manual", "manual: empty folder")
    (tmp_path / "manual" / "other.zip").touch()
    check_error(tmp_path, tmp_path / "manual", "missing IRMAS-TrainingData.zip")
    check_error(tmp_path, tmp_path / "nowhere", "nowhere: no such folder")


def test_number_of_missing_clips_is_reported(tmp_path, unpacked):
    manual = copy_manual(tmp_path, unpacked)
    (manual / "IRMAS-TrainingData" / "cel" / "[cel][cla]0058__1.wav").unlink()
    (manual / irmas_fixture.FOLDERS[3] / "12. Mr. No-4.wav").unlink()
    check_error(
        tmp_path,
        manual,
        "IRMAS-TrainingData/cel has 2 of 3 clips",
        "IRMAS-TestingData-Part3 has 1 of 2 clips",
    )


@pytest.mark.parametrize(
    "content, message", [("gel\t\nxyz\t\n", "unknown class 'xyz'"), ("\t\n", "no labels")]
)
def test_invalid_labels_are_rejected(tmp_path, unpacked, content, message):
    manual = copy_manual(tmp_path, unpacked)
    (manual / irmas_fixture.FOLDERS[1] / "a__b-1.txt").write_text(content)
    check_error(tmp_path, manual, "a__b-1.txt", message)


def test_missing_label_files_are_reported(tmp_path, unpacked):
    manual = copy_manual(tmp_path, unpacked)
    (manual / irmas_fixture.FOLDERS[1] / "a__b-1.txt").unlink()
    check_error(tmp_path, manual, "a__b-1.wav", "no label file a__b-1.txt")


def test_truncated_and_unknown_clips_are_rejected(tmp_path, unpacked):
    manual = copy_manual(tmp_path, unpacked)
    os.truncate(manual / irmas_fixture.FOLDERS[2] / "Lali Puna - Faking the Books-3.wav", 1_000)
    check_error(tmp_path, manual, "Faking the Books-3.wav", "truncated")
    (manual / "IRMAS-TrainingData" / "cel" / "mine.wav").touch()
    check_error(tmp_path, manual, "mine.wav: not a clip from IRMAS-TrainingData")


def test_zip_with_another_md5_is_rejected(tmp_path, zips):
    manual = copy_manual(tmp_path, zips[0])
    with open(manual / "IRMAS-TestingData-Part2.zip", "ab") as file:
        file.write(b"x")
    check_error(tmp_path, manual, "Part2.zip: wrong MD5", "download it again from")


@pytest.mark.parametrize("member", ["../evil.wav", "/evil.wav", "a/../../evil.wav", "C:\\evil.wav"])
def test_zip_with_a_path_outside_the_folder_is_rejected(tmp_path, monkeypatch, zips, member):
    manual = copy_manual(tmp_path, zips[0])
    path = manual / "IRMAS-TrainingData.zip"
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(member, b"x")
    monkeypatch.setitem(irmas.Irmas.MD5, "IRMAS-TrainingData", irmas_fixture.md5(path))
    check_error(tmp_path, manual, "IRMAS-TrainingData.zip: member", "has a path outside the zip")
    assert not list(tmp_path.rglob("evil.wav"))


def test_zip_with_a_link_is_rejected(tmp_path):
    link = zipfile.ZipInfo("link.wav")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="has a path outside the zip"):
        archives.files_in_zip(tmp_path / "a.zip")


def test_invalid_zips_and_damaged_members_are_rejected(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(UserError, match="not a readable zip"):
        archives.files_in_zip(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.wav", b"0123456789")
    path.write_bytes(path.read_bytes().replace(b"0123456789", b"0123456780"))
    (file,) = archives.files_in_zip(path)
    with pytest.raises(UserError, match=r"a.zip: a.wav: damaged"):
        file.read()


def test_zip_names_without_the_utf8_flag_are_decoded(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Sí.wav", b"x")
    content = (tmp_path / "a.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        flag = archive.infolist()[0].flag_bits
    assert flag & 0x800
    without_flag = content.replace(b"\x00\x08\x00\x00", b"\x00\x00\x00\x00")
    (tmp_path / "a.zip").write_bytes(without_flag)
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert archive.namelist() != ["Sí.wav"]
    assert [file.name for file in archives.files_in_zip(tmp_path / "a.zip")] == ["Sí.wav"]


class Handler(http.server.SimpleHTTPRequestHandler):
    """HTTP handler for files and ranges that aborts a given number of times."""

    num_breaks = 0
    asked = []

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            content = file.read()
        start = int((self.headers.get("Range") or "bytes=0-")[6:-1])
        self.asked.append(start)
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content)
        if type(self).num_breaks:
            type(self).num_breaks -= 1
            end = (start + end) // 2
        self.wfile.write(content[start:end])


@pytest.fixture
def server(zips, monkeypatch):
    """Serve the zips at `irmas._URL`."""
    handler = functools.partial(Handler, directory=str(zips[0]))
    monkeypatch.setattr(Handler, "num_breaks", 0)
    monkeypatch.setattr(Handler, "asked", [])
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{running.server_port}"
        monkeypatch.setattr(irmas, "_URL", url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield url
        running.shutdown()


def test_download_resumes_and_builds(tmp_path, server):
    Handler.num_breaks = 3
    builder = data_builders.prepare("irmas", data_dir=tmp_path)
    assert builder.info.splits["train"].num_examples == len(irmas_fixture.TRAINING)
    assert len(Handler.asked) == 4 + 3 and max(Handler.asked) > 0
    downloads = tmp_path / "downloads" / "irmas"
    assert sorted(os.listdir(downloads)) == sorted(f"{n}.zip" for n in irmas_fixture.NAMES)
    # Another format does not download again.
    Handler.asked.clear()
    data_builders.prepare("irmas", data_dir=tmp_path, format="stereo44k")
    assert not Handler.asked


def test_download_continues_an_earlier_attempt(tmp_path, server, zips):
    name = "IRMAS-TrainingData"
    content = (zips[0] / f"{name}.zip").read_bytes()
    (tmp_path / f"{name}.zip.part").write_bytes(content[:1_000])
    path = tmp_path / f"{name}.zip"
    assert archives.fetch(f"{server}/{name}.zip", path, zips[1][name]).read_bytes() == content
    assert Handler.asked == [1_000]
    path.unlink()
    (tmp_path / f"{name}.zip.part").write_bytes(content)
    assert archives.fetch(f"{server}/{name}.zip", path, zips[1][name]).read_bytes() == content


def test_failed_download_is_reported(tmp_path, server, zips):
    with pytest.raises(UserError, match="none.zip: Not Found; .*manual_dir"):
        archives.fetch(f"{server}/none.zip", tmp_path / "none.zip", "0")
    with pytest.raises(UserError, match="wrong MD5"):
        archives.fetch(
            f"{server}/IRMAS-TrainingData.zip", tmp_path / "IRMAS-TrainingData.zip", "0" * 32
        )
    assert not list(tmp_path.glob("IRMAS*"))
    with pytest.raises(UserError, match="http://127.0.0.1:9/a.zip: "):
        archives.fetch("http://127.0.0.1:9/a.zip", tmp_path / "a.zip", "0")
