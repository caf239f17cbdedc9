"""Arrays, paths and files of all kinds that Python functions take."""

import io
import os
import pathlib

import call_trace
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile

import irec_jax
from irec_jax.errors import UserError
from irec_jax.systems.inputs import check_array

RATE_HZ = 8000


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    folder = call_trace.write_recogniser(tmp_path_factory.mktemp("recogniser"))
    return irec_jax.load_recogniser(folder)


@pytest.fixture(scope="module")
def separator(tmp_path_factory):
    return irec_jax.load_separator(call_trace.write_separator(tmp_path_factory.mktemp("separator")))


@pytest.fixture(scope="module")
def wave():
    """Stereo noise in steps of 1 / 64, which all types can represent."""
    return np.random.default_rng(0).integers(-64, 64, (6000, 2)) / 64


class Tensor:
    """A tensor of PyTorch that requires a gradient, on a GPU."""

    def __init__(self, values, dtype="torch.float32", *, grad=True, gpu=True):
        self.values, self.dtype, self.grad, self.gpu = values, dtype, grad, gpu

    def detach(self):
        return Tensor(self.values, self.dtype, grad=False, gpu=self.gpu)

    def cpu(self):
        return Tensor(self.values, self.dtype, grad=self.grad, gpu=False)

    def float(self):
        return Tensor(self.values, grad=self.grad, gpu=self.gpu)

    def __array__(self, dtype=None, copy=None):
        if self.grad:
            raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
        if self.gpu:
            raise TypeError("can't convert cuda:0 device type tensor to numpy.")
        if "bfloat16" in self.dtype:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return np.asarray(self.values, dtype)


class Name(os.PathLike):
    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def read_only(samples):
    samples = samples.copy()
    samples.flags.writeable = False
    return samples


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.astype(np.float16),
        lambda x: x.astype(np.float64),
        lambda x: x.astype(np.longdouble),
        lambda x: x.astype(">f4"),
        lambda x: (x * 2**7).astype(np.int8),
        lambda x: (x * 2**15).astype(np.int16),
        lambda x: (x * 2**15).astype(">i2"),
        lambda x: (x * 2**31).astype(np.int32),
        lambda x: (x * 2**7 + 2**7).astype(np.uint8),
        lambda x: (x * 2**15 + 2**15).astype(np.uint16),
        lambda x: (x * 2**31 + 2**31).astype(np.uint32),
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1][::-1],
        read_only,
        lambda x: np.ma.masked_array(x),
        lambda x: x.tolist(),
        lambda x: [tuple(row) for row in x],
        lambda x: jnp.asarray(x, jnp.float32),
        lambda x: jnp.asarray(x, jnp.bfloat16),
        Tensor,
        lambda x: Tensor(x, "torch.bfloat16"),
        lambda x: memoryview(np.ascontiguousarray(x)),
    ],
)
def test_arrays_of_all_kinds_have_the_same_samples(wave, convert):
    samples, rate_hz = check_array(convert(wave), RATE_HZ)
    assert (samples.dtype, samples.shape, rate_hz) == (np.float32, wave.shape, RATE_HZ)
    np.testing.assert_array_equal(samples, wave.astype(np.float32))


@pytest.mark.parametrize("rate", [8000, 8000.0, np.int16(8000), np.float32(8000), jnp.array(8000)])
def test_integral_sample_rates(wave, recogniser, separator, rate):
    expected = recogniser.recognize(wave, sample_rate_hz=RATE_HZ)
    found = recogniser.recognize(wave, sample_rate_hz=rate)
    assert found.to_dict() == expected.to_dict() and found.source == "array"
    separated = irec_jax.separate(Tensor(wave), workdir=separator, sample_rate=rate)
    assert separated.sample_rate_hz == RATE_HZ
    assert separated.stems["vocals_other"].shape == wave.shape


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.float32(0.5), "shape ()"),
        (np.zeros((0, 2)), "shape (0, 2)"),
        (np.zeros((4, 4, 4)), "shape (4, 4, 4)"),
        (np.zeros(9, bool), "got bool"),
        (np.zeros(9, complex), "got complex128"),
        (np.zeros(9, np.int64), "got int64"),
        ([0, 1], "got int64"),
        (np.full(9, 1e300), "times full scale"),
        (np.full(9, np.nan, np.float16), "NaN"),
        (np.ma.masked_less(np.arange(9.0), 2), "masked"),
        (np.array([0.5, None]), "ndarray of type object"),
        (np.array("song.wav"), "expected a path"),
        ([[0.5], [0.5, 0.5]], "cannot be converted"),
        (None, "NoneType"),
        ({"a": 1}, "dict"),
        (np.zeros(9, [("left", float)]), "expected a path"),
        (io.StringIO("RIFF"), "'rb'"),
    ],
)
def test_other_objects_cost_one_line(recogniser, separator, samples, message):
    for apply in (
        lambda: recogniser.recognize(samples, sample_rate_hz=RATE_HZ),
        lambda: irec_jax.separate(samples, workdir=separator, sample_rate=RATE_HZ),
    ):
        with pytest.raises(UserError) as raised:
            apply()
        assert message in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("rate", [None, "8000", b"8000", True, 8000.5, 1, 1e9, [1, 2], 8000 + 1j])
def test_other_sample_rates_cost_one_line(recogniser, wave, rate):
    with pytest.raises(UserError, match="sample_rate"):
        recogniser.recognize(wave, sample_rate_hz=rate)


def test_paths_and_files_of_all_kinds(recogniser, separator, tmp_path, monkeypatch, wave):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    soundfile.write("ü.wav", wave, RATE_HZ)
    expected = recogniser.recognize("ü.wav")
    names = ("ü.wav", os.fsencode("ü.wav"), np.str_("ü.wav"), pathlib.Path("ü.wav"), "~/ü.wav")
    for path in (*names, Name("ü.wav")):
        found = recogniser.recognize(path, threshold=np.float32(0.5))
        assert found.source == os.fsdecode(path) and found.scores == expected.scores
        out = Name(f"out {found.source[:2]} {type(path).__name__}")
        separated = irec_jax.separate(path, workdir=separator, out=out, progress=False)
        assert len(list(pathlib.Path(out, "ü").iterdir())) == 3 == len(separated.stems) + 1
    content = pathlib.Path("ü.wav").read_bytes()
    with open("ü.wav", "rb") as file, open(os.open("ü.wav", os.O_RDONLY), "rb") as numbered:
        for opened, name in ((file, "ü.wav"), (io.BytesIO(content), "file"), (numbered, "")):
            found = recogniser.recognize(opened)
            assert found.scores == expected.scores and name in found.source
    with open("ü.wav", encoding="utf-8") as text:
        for unreadable in (file, text):  # closed, and not binary
            with pytest.raises(UserError, match="source"):
                recogniser.recognize(unreadable)
    with pytest.raises(UserError, match="pass its path"):
        irec_jax.separate(io.BytesIO(content), workdir=separator, out="out")
    for path in (3, [3], [None], "a\0b"):
        with pytest.raises(UserError):
            irec_jax.load_recogniser(path)
