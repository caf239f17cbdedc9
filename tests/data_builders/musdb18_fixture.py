"""Stem files and folders like those of MUSDB18 and MUSDB18-HQ."""

import av
import numpy as np
import soundfile

RATE = 44_100
STREAMS = ("mixture", "drums", "bass", "other", "vocals")


def stems(name, seconds=0.3, channels=2, rate=RATE):
    """Return smooth noise for each stream, int16 (T, C); the mixture is the sum of the others."""
    rng = np.random.default_rng(list(name.encode()))
    stems = {}
    for stream in STREAMS[1:]:
        noise = rng.normal(0, 12_000, (round(seconds * rate) + 255, channels))
        smooth = np.apply_along_axis(np.convolve, 0, noise, np.ones(256) / 256, "valid")
        stems[stream] = smooth.astype(np.int16)
    return {"mixture": sum(stems.values())} | stems


def write_stem_file(path, arrays, *, picture=True, rate=RATE):
    """Write an mp4 file of AAC streams followed by a picture, like the originals."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4") as container:
        streams = []
        for samples in arrays:
            layout = "mono" if samples.shape[1] == 1 else "stereo"
            streams.append(container.add_stream("aac", rate=rate, layout=layout))
            streams[-1].bit_rate = 256_000
        image = container.add_stream("png", rate=1) if picture else None
        if image:
            image.width, image.height, image.pix_fmt = 16, 16, "rgb24"
            frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 90, np.uint8), format="rgb24")
            container.mux(image.encode(frame))
            container.mux(image.encode(None))
        for stream, samples in zip(streams, arrays, strict=True):
            planes = np.ascontiguousarray(samples.T.astype(np.float32) / 32_768)
            for start in range(0, planes.shape[1], 1_024):
                part = np.ascontiguousarray(planes[:, start : start + 1_024])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=stream.layout.name)
                frame.rate, frame.pts = rate, start
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))


def write_folder(folder, arrays, rate=RATE):
    """Write a track of MUSDB18-HQ from int16 or float arrays by stream."""
    folder.mkdir(parents=True, exist_ok=True)
    for stream, samples in arrays.items():
        subtype = "FLOAT" if samples.dtype.kind == "f" else "PCM_16"
        soundfile.write(folder / f"{stream}.wav", samples, rate, subtype=subtype)


def decoded(path, number):
    """Return a stream of a file as decoded by FFmpeg, int16 (T, C)."""
    with av.open(str(path)) as container:
        frames = [f.to_ndarray() for f in container.decode(container.streams.audio[number])]
    samples = np.concatenate(frames, axis=1).T.astype(np.float64)
    return np.rint(32_768 * samples).clip(-32_768, 32_767).astype(np.int16)
