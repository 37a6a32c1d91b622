"""Videos as frames: decoded one after the other by PyAV, cut, brought to size and passed on, never a whole film."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from selfloop.data.examples import Unusable
from selfloop.data.media.images import resized
from selfloop.errors import DataError, first_line

Frame = npt.NDArray[np.uint8]
VIDEO_SUFFIXES = {
    ".mp4", ".mpg", ".mpeg", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".wmv", ".flv", ".ogv", ".3gp", ".ts", ".gif",
}  # fmt: skip
LONGER_SIDE = 64
"""Pixels of a video's longer side, where no size is given: what a small encoder sees in minutes on two cores."""


@dataclass(frozen=True)
class VideoReading:
    """How frames are read.

    Attributes:
        fps: frames a second that are taken of a video; None takes every one.
        crop: top, left, height and width of what is seen, in pixels; None for all of it.
        size: height and width that frames are brought to; None leaves arrays as they are, and brings the longer side
            of a video to 64 pixels where it has more.
        grey: whether frames are read without colour.
    """

    fps: float | None = None
    crop: tuple[int, int, int, int] | None = None
    size: tuple[int, int] | None = None
    grey: bool = True

    def framed(self, frame: Frame) -> Frame:
        """What is seen of a frame: (H, W), or (H, W, 3) in colour.

        Raises:
            Unusable: the crop lies outside the frame.
        """
        if self.crop is not None:
            top, left, height, width = self.crop
            if top + height > frame.shape[0] or left + width > frame.shape[1]:
                raise Unusable(
                    f"has frames of {frame.shape[0]} x {frame.shape[1]} pixels, outside of which the crop "
                    f"[{top},{left},{height},{width}] reaches"
                )
            frame = frame[top : top + height, left : left + width]
        if self.grey and frame.ndim == 3:
            frame = (frame @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)
        return resized(frame, self.size)


def frames(source: str | Path, reading: VideoReading) -> Iterator[Frame]:
    """The frames of a film or a camera, one at a time.

    With `fps`, the frame that is seen at each tick of such a clock, so that one may be taken twice, or not at all.

    Args:
        source: a file, a device or an address: whatever ffmpeg opens.
        reading: how.

    Yields:
        Bytes, (H, W) or (H, W, 3), turned as the camera says.

    Raises:
        Unusable: it is no video, is damaged, or holds no frames.
        DataError: PyAV is not installed.
    """
    try:
        import av  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise DataError(
            "Reading videos needs PyAV: pip install 'selfloop[video]', or give arrays of frames."
        ) from error
    number = tick = 0
    try:
        with av.open(str(source)) as container:
            if not container.streams.video:
                raise Unusable("holds no video")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            rate = float(stream.average_rate or 25)
            start = None
            for frame in container.decode(stream):
                time = number / rate if frame.time is None else frame.time
                start = time if start is None else start
                number += 1
                seen: Frame | None = None
                while reading.fps is None or tick / reading.fps <= time - start + 0.5 / rate:
                    if seen is None:
                        pixels = frame.to_ndarray(format="gray" if reading.grey else "rgb24")
                        seen = _shrunk(reading.framed(_upright(pixels, frame.rotation)), reading)
                    yield seen
                    tick += 1
                    if reading.fps is None:
                        break
    except Unusable:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        where = f"after frame {number} " if number else ""
        raise Unusable(f"cannot be read {where}as a video ({_said(error)})") from error
    if not number:
        raise Unusable("holds no frames")


def read_video(path: Path, reading: VideoReading) -> Frame:
    """All frames of a film as they are seen: (T, H, W), or (T, H, W, 3) in colour.

    Raises:
        Unusable: it is no video, is damaged, holds no frames, or frames of several sizes.
        DataError: PyAV is not installed.
    """
    found = list(frames(path, reading))
    for number, (before, frame) in enumerate(pairwise(found), 2):
        if frame.shape != before.shape:
            (height, width), (rows, columns) = before.shape[:2], frame.shape[:2]
            raise Unusable(
                f"changes from {height} x {width} pixels, high and wide, to {rows} x {columns} at frame {number} "
                f"(bring all to one size, as with --set data.size=[{height},{width}])"
            )
    return np.stack(found)


def _upright(frame: Frame, degrees: int) -> Frame:
    """A frame turned counterclockwise, by the nearest quarters of a turn."""
    return np.rot90(frame, round(degrees / 90))


def _shrunk(frame: Frame, reading: VideoReading) -> Frame:
    longer = max(frame.shape[:2])
    if reading.size is not None or longer <= LONGER_SIDE:
        return frame
    height, width = (max(1, round(side * LONGER_SIDE / longer)) for side in frame.shape[:2])
    return resized(frame, (height, width))


def _said(error: Exception) -> str:
    """What ffmpeg said, without the numbers and names around it."""
    return str(getattr(error, "strerror", None) or first_line(error))
