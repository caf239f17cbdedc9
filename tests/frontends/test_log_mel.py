"""Log-mel front end compared with librosa over a grid of settings."""

import dataclasses
import functools
import json
import warnings

import jax
import jax.numpy as jnp
import librosa
import numpy as np
import pytest

from irec_jax import frontends
from irec_jax.errors import UserError

# Every value of every option occurs at least once, including hops that do not divide the frame
# and odd frame lengths.
GRID = [
    dict(),
    dict(power=2.0, mel_scale="htk", mel_norm=None, drop_last=False, offset=0.1),
    dict(hop_length=441, window="hamming", num_mels=64),
    dict(hop_length=300, window="rectangular", power=2, padding="end", mel_norm=None, offset=1.0),
    dict(frame_length=2048, hop_length=1000, mel_scale="htk", padding="none", power=1.5),
    dict(frame_length=1001, hop_length=250, num_mels=40, window="blackman", max_hz=8000.0),
    dict(sample_rate_hz=44100, frame_length=4096, hop_length=1050, padding="end", min_hz=50.0),
    dict(sample_rate_hz=16000, frame_length=400, hop_length=160, num_mels=40, mel_scale="htk"),
    dict(frame_length=512, hop_length=700, num_mels=32, padding="end"),
]


def noise(*shape):
    waveform = np.random.default_rng(0).standard_normal(shape)
    return (waveform / np.abs(waveform).max()).astype(np.float32)


def librosa_log_mel(waveform, frontend):
    """Return librosa's features of waveforms (B, T) with the same settings, in float64."""
    length, hop = frontend.frame_length, frontend.hop_length
    waveform = waveform.astype(np.float64)
    num_frames, _ = frontend.output_shape(waveform.shape[-1])
    if frontend.padding != "center":  # librosa cannot pad only the end, so append zeros
        waveform = np.pad(waveform, [(0, 0), (0, length + hop)])
    bands = librosa.feature.melspectrogram(
        y=waveform,
        sr=frontend.sample_rate_hz,
        n_fft=length,
        hop_length=hop,
        window={"rectangular": "boxcar"}.get(frontend.window, frontend.window),
        center=frontend.padding == "center",
        power=frontend.power,
        n_mels=frontend.num_mels,
        fmin=frontend.min_hz,
        fmax=frontend.max_hz,
        htk=frontend.mel_scale == "htk",
        norm=frontend.mel_norm,
    )
    return np.log(bands + frontend.offset).swapaxes(-1, -2)[:, :num_frames]


@pytest.mark.parametrize("settings", GRID, ids=str)
def test_log_mel_matches_librosa(settings):
    frontend = frontends.create("log_mel", **settings)
    # The second length is odd and not a multiple of any hop.
    for num_samples in (8400, 10007):
        waveform = noise(2, num_samples)
        features = np.asarray(frontend(waveform))
        expected = librosa_log_mel(waveform, frontend)
        assert features.shape == (2, *frontend.output_shape(num_samples)) == expected.shape
        assert features.dtype == np.float32
        deviation = np.abs(features - expected).max()
        assert deviation <= 1e-5 * np.abs(expected).max()
        assert deviation <= 1e-5 * np.ptp(expected)


@pytest.mark.parametrize("seconds, frames", [(0.5, 21), (1.0, 43), (1.5, 64), (3.0, 129)])
def test_number_of_frames_for_the_windows_of_the_paper(seconds, frames):
    frontend = frontends.create("log_mel")
    num_samples = int(seconds * 22050)
    assert frontend.output_shape(num_samples) == (frames, 128)
    shape = jax.eval_shape(frontend, jax.ShapeDtypeStruct((2, num_samples), jnp.float32)).shape
    assert shape == (2, frames, 128)


def test_batch_computed_in_groups_matches_single_calls():
    frontend = frontends.create("log_mel")
    # 50 x 43 frames are computed in chunks of 23 examples and a remainder of 4.
    waveforms = noise(5, 10, 22050)
    batched = jax.jit(frontend)(waveforms)
    assert batched.shape == (5, 10, 43, 128)
    for row, column in ((0, 0), (2, 2), (2, 3), (4, 9)):
        single = frontend(waveforms[row, column])
        np.testing.assert_allclose(batched[row, column], single, atol=1e-5)
    assert frontend(waveforms[:0]).shape == (0, 10, 43, 128)
    nested = jax.vmap(frontend)(waveforms.reshape(2, 25, 22050)).reshape(batched.shape)
    np.testing.assert_allclose(nested, batched, atol=1e-5)
    gradient = jax.grad(lambda waveform: frontend(waveform).sum())
    batch_gradient = gradient(waveforms)[4, 9]
    np.testing.assert_allclose(
        batch_gradient, gradient(waveforms[4, 9]), atol=1e-4 * abs(batch_gradient).max()
    )


@pytest.mark.parametrize("settings", GRID[:5], ids=str)
def test_batched_unbatched_jitted_and_vmapped_calls_agree(settings):
    frontend = frontends.create("log_mel", **settings)
    waveform = noise(2, 3, 5000)
    batched = jax.jit(frontend)(waveform)
    np.testing.assert_allclose(jax.vmap(jax.vmap(frontend))(waveform), batched, atol=1e-5)
    np.testing.assert_allclose(frontend(waveform[1, 2]), batched[1, 2], atol=1e-5)


def test_features_of_a_clip_do_not_depend_on_what_follows():
    frontend = frontends.create("log_mel")
    waveform = noise(22050)
    changed = waveform.copy()
    changed[-512:] = 0.0
    np.testing.assert_array_equal(frontend(waveform)[:41], frontend(changed)[:41])


@pytest.mark.parametrize("power", [1, 2, 1.5, 0.5])
def test_silence_is_finite_with_finite_gradients(power):
    frontend = frontends.create("log_mel", power=power, offset=1e-6)
    silence = np.zeros(4000, np.float32)
    np.testing.assert_allclose(frontend(silence), np.log(1e-6), rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda waveform: frontend(waveform).sum()))
    for waveform in (silence, np.where(np.arange(4000) < 1500, noise(4000), 0.0)):
        assert np.isfinite(gradient(waveform.astype(np.float32))).all()


def test_gradient_matches_a_finite_difference():
    frontend = frontends.create("log_mel", num_mels=20)
    waveform, direction = noise(2, 3000)

    def total(step):
        return float(np.sum(np.asarray(frontend(waveform + step * direction), np.float64)))

    gradient = jax.grad(lambda waveform: frontend(waveform).sum())(waveform)
    numerical = (total(1e-3) - total(-1e-3)) / 2e-3
    np.testing.assert_allclose(np.vdot(gradient, direction), numerical, rtol=1e-2)


def test_settings_survive_a_json_round_trip():
    for settings in GRID:
        frontend = frontends.create("log_mel", **settings)
        restored = json.loads(json.dumps(dataclasses.asdict(frontend)))
        assert frontends.create("log_mel", **restored) == frontend
        assert hash(frontends.create("log_mel", **restored)) == hash(frontend)


@pytest.mark.parametrize(
    "settings, message",
    [
        (dict(hop_length=-1), r"frontend.hop_length=-1: expected an? (positive )?integer"),
        (dict(frame_length=1024.0), r"frontend.frame_length=1024.0"),
        (dict(num_mels=0), r"frontend.num_mels=0"),
        (dict(max_hz=12000), r"frontend.min_hz=0.0, max_hz=12000: .*11025.0"),
        (dict(max_hz="12k"), r"frontend.max_hz='12k'"),
        (dict(min_hz=float("nan")), r"frontend.min_hz=nan"),
        (dict(sample_rate_hz=0), r"frontend.sample_rate_hz=0"),
        (dict(power=-1), r"frontend.power=-1"),
        (dict(offset=0), r"frontend.offset=0"),
        (dict(window="hannn"), r"frontend.window='hannn': expected one of 'hann'"),
        (dict(padding="same"), r"frontend.padding='same'"),
        (dict(mel_scale="bark"), r"frontend.mel_scale='bark'"),
        (dict(mel_norm="l1"), r"frontend.mel_norm='l1'"),
        (dict(hop_lenght=512), r"unknown argument .*did you mean 'hop_length'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_invalid_settings_are_reported_in_one_line(settings, message):
    with pytest.raises(UserError, match=message) as error:
        frontends.create("log_mel", **settings)
    assert "\n" not in str(error.value)


def test_empty_bands_cause_a_warning():
    with pytest.warns(UserWarning, match="of num_mels=500 mel bands lie between the bins"):
        frontends.create("log_mel", num_mels=500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frontends.create("log_mel")


@pytest.mark.usefixtures("unchecked")
def test_invalid_waveforms_are_rejected():
    frontend = frontends.create("log_mel")
    with pytest.raises(AssertionError, match="waveform must hold floats"):
        frontend(np.zeros(4000, np.int16))
    for short in (functools.partial(frontend.output_shape, 511), lambda: frontend(noise(511))):
        with pytest.raises(UserError, match="511 samples are too few for one frame"):
            short()
    unpadded = frontends.create("log_mel", padding="none")
    assert unpadded.output_shape(1024) == (1, 128)
    with pytest.raises(UserError, match="1023 samples are too few"):
        unpadded.output_shape(1023)
