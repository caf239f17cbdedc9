"""Short multitrack recordings for tests: a tone and noise, one after the other with an overlap."""

import numpy as np

from irec_jax import audio

RATE_HZ, SECONDS = 44_100, 3


def write_sessions(folder, *, train=2, test=1):
    """Write pieces of a flute, 0 to 1.8 s, and a viola, from 0.9 s on; return the folder."""
    rng = np.random.default_rng(0)
    time_s = np.arange(SECONDS * RATE_HZ) / RATE_HZ
    pieces = [f"train/{i}" for i in range(train)] + [
        f"test/{i}" for i in range(train, train + test)
    ]
    for piece in pieces:
        flute = 0.5 * np.sin(2 * np.pi * rng.uniform(300, 500) * time_s) * (time_s < 1.8)
        viola = rng.normal(0, 0.1, len(time_s)) * (time_s > 0.9)
        for track, samples in (("flute", flute), ("viola-1", viola)):
            path = folder / piece / f"{track}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, samples.astype(np.float32)[:, None], RATE_HZ)
    return folder
