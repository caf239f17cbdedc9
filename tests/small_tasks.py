"""Small tasks and batches for several test files."""

import numpy as np

from irec_jax.tasks import create_recognition, create_separation

STEMS = ("drums", "bass", "other", "vocals")
RATE_HZ, SAMPLES = 8000, 8 * 60
FRONTEND = dict(name="spectrogram_db", frame_length=128, hop_length=60, num_bins=64, num_frames=8)
MODEL = dict(
    name="unet", filters=(4, 8), kernels=(3, 3), strides=(2, 2), dilations=(1, 1), bottleneck=(4,)
)
#: Losses of the configs, and another one.
LOSS = dict(name="log_mean_squared_error", domain="amplitudes", l2=0.0)
DECIBELS = dict(name="mean_absolute_error", domain="decibels", l2=0.0)
AMPLITUDES = dict(name="mean_absolute_error", domain="amplitudes", l2=0.0)


def create_separation_task(**changes):
    """Return a separation task with a U-Net of two layers."""
    settings = dict(
        stems=STEMS,
        target=("vocals", "other"),
        sample_rate_hz=RATE_HZ,
        window_s=SAMPLES / RATE_HZ,
        frontend=FRONTEND,
        model=MODEL,
        loss=LOSS,
        augment={},
    )
    return create_separation(**(settings | changes))


def make_stem_batch(size=3):
    """Return a batch with drums and bass below 1 kHz and the other stems above."""
    rng = np.random.default_rng(0)
    time_s = np.arange(SAMPLES) / RATE_HZ
    stems = np.zeros((size, 4, SAMPLES))
    for row, stem in np.ndindex(size, 4):
        pitch = rng.uniform(100, 900) if stem < 2 else rng.uniform(1200, 3500)
        stems[row, stem] = 0.2 * np.sin(2 * np.pi * pitch * time_s + rng.uniform(0, 6))
    return {
        "stems": np.round(stems * 32767).astype(np.int16),
        "num_samples": np.full(size, SAMPLES, np.int32),
        "mask": np.array([1.0] * (size - 1) + [0.0], np.float32),
        "index": np.arange(size),
    }


def create_recognition_task(**changes):
    """Return a recognition task with a ConvNet of two blocks."""
    settings = dict(
        classes=("low", "middle", "high"),
        sample_rate_hz=8000,
        window_s=0.25,
        frontend=dict(name="log_mel", frame_length=256, hop_length=128, num_mels=16),
        model=dict(name="convnet", filters=(4, 8), dense=32, dropout=0.1, dense_dropout=0.1),
        loss=dict(name="categorical_cross_entropy", l2=0.0),
        augment=dict(gain_db=3.0, polarity=True, num_time_masks=1, time_mask_frames=4),
    )
    return create_recognition(**(settings | changes))
