"""multitrack builder: folders of MedleyDB and of Mixing Secrets, made up here."""

import numpy as np
import pytest
import soundfile
from multitrack_fixture import RATE_HZ, write, write_medleydb_piece

from data_builders.multitrack import layouts
from irec_jax import data
from irec_jax.errors import UserError


@pytest.fixture
def medleydb(tmp_path):
    root = tmp_path / "MedleyDB"
    audio = root / "Audio"
    band = [
        ("drum set", ("kick drum", "snare drum", "kick drum")),
        ("fx/processed sound", ("synthesizer",)),
        (["violin", "viola"], ("violin",)),
    ]
    write_medleydb_piece(audio, "AnArtist_Dry", band)
    quartet = [("cello", ("cello",)), ("violin", ("violin",)), ("violin", ("violin",))]
    quartet.append(("Main System", ("Main System", "Main System")))
    write_medleydb_piece(audio, "AnArtist_Bleeding", quartet, seed=1, has_bleed="yes")
    (root / "Annotations").mkdir()
    (audio / "AnArtist_Dry" / "._AnArtist_Dry_METADATA.yaml").write_bytes(b"\x00\x05")
    return root


def load(tmp_path, **options):
    return data.load_pieces("multitrack", "all", data_dir=str(tmp_path / "data"), **options)


def test_medleydb_stems(tmp_path, medleydb):
    pieces = load(tmp_path, path=medleydb, layout="medleydb")
    by_name = {piece.name: piece for piece in pieces}
    expected = "cello drum_set fx_processed_sound violin violin_and_viola"
    assert pieces.classes == tuple(expected.split())
    dry, bleeding = by_name["AnArtist_Dry"], by_name["AnArtist_Bleeding"]
    assert dry.tracks == ("drum_set", "fx_processed_sound", "violin_and_viola")
    assert dry.spots is None and bleeding.stems is None
    stems = [soundfile.read(f)[0].mean(1) for f in sorted(medleydb.rglob("*Dry_STEM_*.wav"))]
    np.testing.assert_allclose(dry.stems, stems, atol=1.01 / 32_768)
    mix, _ = soundfile.read(next(medleydb.rglob("*Dry_MIX.wav")))
    np.testing.assert_allclose(dry.mix, mix, atol=1e-7)
    assert bleeding.tracks == ("cello", "violin-1", "violin-2")  # no main microphones


def test_medleydb_raw_tracks_with_given_classes(tmp_path, medleydb):
    options = dict(path=medleydb / "Audio", layout="medleydb_raw", classes="violin,violoncello")
    pieces = load(tmp_path, **options)
    by_name = {piece.name: piece for piece in pieces}
    assert pieces.classes == ("violin", "violoncello", "other")
    dry = by_name["AnArtist_Dry"]
    assert dry.tracks == ("violin", "other-1", "other-2", "other-3", "other-4")
    assert dry.instruments == ("violin", *["other"] * 4) and dry.stems is not None
    assert by_name["AnArtist_Bleeding"].instruments == ("violin", "violin", "violoncello")
    # The same files in another layout are another dataset.
    assert load(tmp_path, **options | dict(layout="medleydb")).num_tracks == (3, 3)


def test_changed_bleed_flag_is_prepared_again(tmp_path, medleydb):
    options = dict(path=medleydb, layout="medleydb")
    first = load(tmp_path, **options)
    metadata = next(medleydb.rglob("AnArtist_Dry_METADATA.yaml"))
    metadata.write_text(metadata.read_text().replace("has_bleed: 'no'", "has_bleed: yes"))
    second = load(tmp_path, **options)
    assert first.full_name != second.full_name
    assert all(piece.stems is None for piece in second)


def remove_tracks(root):
    for file in root.rglob("*Dry_STEM_0[23].wav"):
        file.unlink()


def truncate_metadata(root):
    next(root.rglob("AnArtist_Dry_METADATA.yaml")).write_text("stems: [a, {")


def empty_metadata(root):
    next(root.rglob("AnArtist_Dry_METADATA.yaml")).write_text("")


def write_impossible_date(root):
    metadata = next(root.rglob("AnArtist_Dry_METADATA.yaml"))
    metadata.write_text(f"{metadata.read_text()}\nrecorded: 2001-99-99\n")


def remove_metadata(root):
    for file in root.rglob("*_METADATA.yaml"):
        file.unlink()


def keep_main_system(root):
    write_medleydb_piece(root / "Audio", "An_Ensemble", [("Main System", ())])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_tracks, "Dry_STEM_02.wav: missing (and 1 more), but listed in AnArtist_Dry_MET"),
        (truncate_metadata, "AnArtist_Dry_METADATA.yaml: not valid MedleyDB metadata"),
        (empty_metadata, "AnArtist_Dry_METADATA.yaml: not valid MedleyDB metadata"),
        (write_impossible_date, "(ValueError: month must be in 1..12); download the file again"),
        (remove_metadata, "MedleyDB: no *_METADATA.yaml in this folder or its subfolders"),
        (keep_main_system, "An_Ensemble: no instrument tracks; remove the folder"),
    ],
)
def test_incomplete_medleydb_is_reported_in_one_line(tmp_path, medleydb, spoil, message):
    spoil(medleydb)
    with pytest.raises(UserError) as error:
        load(tmp_path, path=medleydb, layout="medleydb")
    assert message in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.rglob("dataset_info.json"))


@pytest.mark.parametrize(
    ("stem", "instrument"),
    [
        ("01_KickIn", "kick_drum"),
        ("02_SnareUp", "snare_drum"),
        ("03_HiHat", "high_hat"),
        ("06_Hats", "high_hat"),
        ("05_OverheadL", "drum_set"),
        ("06_DrumsRoom", "drum_set"),
        ("09_Toms", "toms"),
        ("10_BassDI", "electric_bass"),
        ("12_SynthBass1", "synth_bass"),
        ("13_ElecGtr02DI", "electric_guitar"),
        ("E GUITAR - AR-51 - Presonus M80", "electric_guitar"),
        ("14_AcGtr1", "acoustic_guitar"),
        ("15_Gtr", "guitar"),
        ("16_LeadVoxDT", "vocals"),
        ("17_BackingVox01", "vocals"),
        ("14_SynthSFX1", "fx_processed_sound"),
        ("UPRIGHT BASS - DI - Neve 33102", "double_bass"),
        ("20_Bassoon", "bassoon"),
        ("21_Brass", "brass_section"),
        ("22_StringsPizz", "string_section"),
        ("23_EPiano", "electric_piano"),
        ("24_Saxophone3", "saxophone"),
        ("25_HornsTrumpet", "trumpet"),
        ("26_RoomMics", "room"),
        ("08_Paliteo", "paliteo"),
        ("05_Cunono1", "cunono"),
        ("06_AltoFluteL", "flute"),
        ("07_ÉtuveDI", "étuve"),
        ("30_BassTrombone", "trombone"),
        ("31_BassClar", "bass_clarinet"),
        ("32_SteelDrums", "auxiliary_percussion"),
        ("33_ElPiano", "electric_piano"),
        ("34_BVs", "vocals"),
        ("35_GTRs", "guitar"),
        ("36_OHL", "drum_set"),
        ("37_Castanets", "castanets"),
        ("27", "other"),
        ("28_L", "other"),
    ],
)
def test_instruments_of_mixing_secrets(stem, instrument):
    assert layouts.read_instrument(stem) == instrument


def test_every_keyword_is_recognised():
    """No keyword is hidden by one of another instrument that stands before it."""
    for keyword, instrument in layouts._INSTRUMENTS.items():
        assert layouts.read_instrument(f"03_{keyword.title()}") == instrument, keyword


@pytest.fixture
def mixing_secrets(tmp_path):
    root = tmp_path / "Mixing Secrets"
    song = root / "ABand_ASong_Full"
    names = ("01_KickIn", "02_KickOut", "04_ElecGtr1", "05_LeadVox", "07_Cunono1", "08_Room")
    for i, name in enumerate(names):
        write(song / "ABand_ASong_Full" / f"{name}.wav", i, seconds=0.2 + 0.1 * (i == 2))
    write(song / "ABand_ASong_Full_Preview.mp3", 9)
    write(root / "Other_Song_Full" / "01_Violin.wav", 10)
    (song / "readme.txt").write_text("Mix me.")
    return root


def test_mixing_secrets(tmp_path, mixing_secrets, capfd):
    pieces = load(tmp_path, path=mixing_secrets, layout="mixing_secrets")
    errors = capfd.readouterr().err
    assert "ABand_ASong_Full: no tracks numbered 3, 6\n" in errors
    assert "no mix in 2 of 2 pieces" in errors
    (piece,) = (piece for piece in pieces if piece.name == "ABand_ASong_Full")
    assert piece.tracks == ("cunono", "electric_guitar", "kick_drum-1", "kick_drum-2", "vocals")
    assert piece.stems is None and piece.spots.shape == (5, round(0.3 * RATE_HZ))
    np.testing.assert_allclose(
        piece.spots[2, : round(0.2 * RATE_HZ)],
        write(tmp_path / "kick.wav", 0)[:, 0],
        atol=1e-7,
    )
    assert not piece.spots[2, round(0.2 * RATE_HZ) :].any()
    np.testing.assert_allclose(np.abs(piece.mix).max(), 1, atol=1e-3)


def test_mixing_secrets_with_given_classes(tmp_path, mixing_secrets):
    options = dict(path=mixing_secrets, layout="mixing_secrets", classes="vocals,Kick Drum")
    pieces = load(tmp_path, **options)
    assert pieces.classes == ("vocals", "Kick Drum", "other")
    assert dict(zip(pieces.names, pieces.instruments, strict=True)) == {
        "ABand_ASong_Full": ("vocals", "Kick Drum", "Kick Drum", "other", "other"),
        "Other_Song_Full": ("other",),
    }


def test_piece_without_tracks_is_reported(tmp_path, mixing_secrets):
    (mixing_secrets / "Notes").mkdir()
    (mixing_secrets / "Notes/lyrics.txt").write_text("la")
    with pytest.raises(UserError, match="Notes: no instrument tracks; remove the folder"):
        load(tmp_path, path=mixing_secrets, layout="mixing_secrets")
    with pytest.raises(UserError, match="kick.wav: not a folder|no piece folders|no such"):
        load(tmp_path, path=tmp_path / "nothing", layout="mixing_secrets")
