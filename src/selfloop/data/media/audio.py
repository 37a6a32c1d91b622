"""Sound as sequences: files decoded by PyAV, resampled, and turned into log-mel features or left as samples."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Unusable
from selfloop.errors import DataError, first_line

AUDIO_SUFFIXES = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aiff", ".aif", ".wma"}
WINDOW, HOP = 0.025, 0.010
"""Seconds of sound that a step sees, and from one step to the next: as speech is commonly read."""
LOWEST = 20.0
"""Hertz where the mel filters begin; they end at half the rate."""
FLOOR = 1e-6
"""What is added to an energy before its logarithm: silence is -13.8, and full scale about 4."""

Sound = npt.NDArray[np.float32]


@dataclass(frozen=True)
class AudioReading:
    """How sound is read.

    Attributes:
        rate: samples a second that it is brought to.
        stereo: whether two channels are kept apart, of one both the same; else their mean is taken.
        mels: features of a step, of each channel; None gives samples, one a step.
    """

    rate: int = 16_000
    stereo: bool = False
    mels: int | None = 40


def read_audio(path: Path, reading: AudioReading) -> Sound:
    """A file as steps: (T, mels) or (T, 2 · mels) with a step each 10 ms, or the samples, (T, 1) or (T, 2), in [-1, 1].

    Raises:
        Unusable: it is no sound, is damaged, or holds less than a step.
        DataError: PyAV is not installed.
    """
    sound = _samples(path, reading)
    if reading.mels is None:
        return sound.T.copy()
    if sound.shape[1] < round(WINDOW * reading.rate):
        raise Unusable(f"holds {sound.shape[1] / reading.rate:.3f} s of sound, and a step needs {WINDOW} s")
    return np.concatenate([log_mel(channel, reading.rate, reading.mels) for channel in sound], axis=1)


def log_mel(samples: npt.NDArray[np.floating], rate: int, mels: int) -> Sound:
    """The logarithms of energies on the mel scale, (T, mels): of windows of 25 ms, one each 10 ms.

    Windows are Hann's; filters are triangles, evenly spread in mel = 2595 log10(1 + f / 700) (O'Shaughnessy 1987).

    Args:
        samples: (N,), at least 25 ms of them, in [-1, 1].
        rate: of them, a second.
        mels: how many features.

    >>> log_mel(np.zeros(16_000), rate=16_000, mels=40).shape
    (98, 40)
    """
    window, hop = round(WINDOW * rate), round(HOP * rate)
    size = 1 << (window - 1).bit_length()
    frames = np.lib.stride_tricks.sliding_window_view(samples, window)[::hop]
    spectrum = np.abs(np.fft.rfft(frames * np.hanning(window + 1)[:-1], size)) ** 2 / window
    return np.log(spectrum @ filters(rate, size, mels).T + FLOOR).astype(np.float32)


@lru_cache(maxsize=8)
def filters(rate: int, size: int, mels: int) -> npt.NDArray[np.float64]:
    """The filters, (mels, size / 2 + 1): what each frequency of a spectrum of that size adds to each feature."""
    top = 2595 * np.log10(1 + rate / 2 / 700)
    bottom = 2595 * np.log10(1 + LOWEST / 700)
    corners = 700 * (10 ** (np.linspace(bottom, top, mels + 2) / 2595) - 1)
    frequencies = np.linspace(0, rate / 2, size // 2 + 1)
    rising = (frequencies - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - frequencies) / (corners[2:] - corners[1:-1])[:, None]
    return np.maximum(0.0, np.minimum(rising, falling))


def _samples(path: Path, reading: AudioReading) -> Sound:
    """The samples, (channels, N)."""
    try:
        import av  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError(
            "Reading sound needs PyAV: pip install 'selfloop[video]', or give arrays of samples or features."
        ) from error
    blocks = []
    try:
        with av.open(str(path)) as container:
            if not container.streams.audio:
                raise Unusable("holds no sound")
            resampler = av.AudioResampler(format="fltp", rate=reading.rate)  # its mixing is louder than a mean
            for frame in container.decode(audio=0):
                blocks += [out.to_ndarray() for out in resampler.resample(frame)]
            blocks += [out.to_ndarray() for out in resampler.resample(None)]
    except Unusable:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise Unusable(f"cannot be read as sound ({getattr(error, 'strerror', None) or first_line(error)})") from error
    if not blocks:
        raise Unusable("holds no sound")
    sound: Sound = np.concatenate(blocks, axis=1).astype(np.float32)
    if not np.isfinite(sound).all():
        raise Unusable("holds samples that are not finite")
    if not reading.stereo:
        mixed: Sound = sound.mean(0, keepdims=True)
        return mixed
    if len(sound) > 2:
        raise Unusable(f"has {len(sound)} channels, and two can be kept apart")
    return np.repeat(sound, 2, axis=0) if len(sound) == 1 else sound
