import struct

import numpy as np
import pytest

from selfloop.data.examples import Unusable
from selfloop.data.media.video import VideoReading, frames, read_video

av = pytest.importorskip("av", reason="videos need PyAV")


@pytest.fixture
def film(tmp_path):
    """Writes frames without loss, as ffmpeg's own codec keeps them."""

    def write(pixels, rate=10, name="film.mkv", codec="ffv1"):
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = pixels.shape[1:3]
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "gray" if pixels.ndim == 3 else "bgr0"
            for frame in pixels:
                picture = av.VideoFrame.from_ndarray(frame, format="gray" if pixels.ndim == 3 else "rgb24")
                container.mux(stream.encode(picture.reformat(format=stream.pix_fmt)))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (12, 20, 30), dtype=np.uint8)


def test_every_frame_is_read_as_it_was_written(film, noise):
    np.testing.assert_array_equal(read_video(film(noise), VideoReading()), noise)


def test_colour_is_read_on_demand_and_grey_is_its_luminance(film, noise):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 20, 30, 3), dtype=np.uint8)
    path = film(pixels)
    np.testing.assert_array_equal(read_video(path, VideoReading(grey=False)), pixels)
    grey = pixels @ np.array([0.299, 0.587, 0.114])
    assert np.abs(read_video(path, VideoReading()) - grey).max() < 20  # ffmpeg's is of limited range and back


def test_a_crop_is_cut_out_before_the_frame_is_brought_to_size(film, noise):
    seen = read_video(film(noise), VideoReading(crop=(4, 6, 8, 12)))
    np.testing.assert_array_equal(seen, noise[:, 4:12, 6:18])
    halved = read_video(film(np.repeat(np.repeat(noise, 2, 1), 2, 2)), VideoReading(size=(20, 30)))
    assert np.abs(halved.astype(int) - noise).mean() < 40
    assert halved.shape == noise.shape


def test_large_frames_are_brought_to_64_pixels_where_no_size_is_given(film):
    assert read_video(film(np.zeros((2, 100, 200), np.uint8)), VideoReading()).shape == (2, 32, 64)


@pytest.mark.parametrize(("turned", "degrees"), [(0, 0), (1, 90), (2, 180), (3, -90)])
def test_a_film_is_turned_as_the_camera_says(film, noise, turned, degrees):
    """Phones write what their sensor sees, and beside it how it is to be turned: counterclockwise, as ffmpeg counts."""
    path = film(np.rot90(noise, -turned, (1, 2)), name="film.mp4")
    whole = path.read_bytes()
    at = whole.index(b"tkhd") + 44  # the matrix of the track, in fixed point
    cosine, sine = ((1, 0), (0, 1), (-1, 0), (0, -1))[turned]
    path.write_bytes(whole[:at] + struct.pack(">9i", *_turn(cosine, -sine)) + whole[at + 36 :])
    with av.open(str(path)) as container:
        assert abs(next(container.decode(video=0)).rotation) == abs(degrees)
    np.testing.assert_array_equal(read_video(path, VideoReading()), noise)
    crop = VideoReading(crop=(4, 6, 8, 12))
    np.testing.assert_array_equal(read_video(path, crop), noise[:, 4:12, 6:18])


def _turn(cosine, sine):
    """The matrix of a turn of what is seen, with y downwards: 16.16, and 2.30 in its last column."""
    one = 1 << 16
    return (cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30)


def test_a_film_whose_frames_change_size_is_refused_unless_a_size_is_given(film, noise):
    parts = [film(part, name="film.avi", codec="mjpeg").read_bytes() for part in (noise, noise[:, :, :16])]
    path = film(noise, name="film.avi", codec="mjpeg")
    path.write_bytes(b"".join(parts))
    said = r"changes from 20 x 30 pixels, high and wide, to 20 x 16 at frame 13 \(bring all .* data\.size=\[20,30\]\)"
    with pytest.raises(Unusable, match=said):
        read_video(path, VideoReading())
    assert read_video(path, VideoReading(size=(8, 12))).shape == (24, 8, 12)


@pytest.mark.parametrize(("fps", "taken"), [(5.0, [0, 2, 4, 6, 8, 10]), (10.0, range(12)), (20.0, np.arange(24) // 2)])
def test_frames_are_taken_at_the_ticks_of_a_clock(film, noise, fps, taken):
    seen = read_video(film(noise, rate=10), VideoReading(fps=fps))
    taken = list(taken)
    assert abs(len(seen) - len(taken)) <= 1
    np.testing.assert_array_equal(seen[: len(taken)], noise[taken[: len(seen)]])


def test_frames_come_before_the_film_is_read_to_its_end(film):
    path = film(np.random.default_rng(0).integers(0, 256, (40, 64, 64), dtype=np.uint8))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])  # its second half is not there
    coming = frames(path, VideoReading())
    assert next(coming).shape == (64, 64)
    assert next(coming).shape == (64, 64)
    coming.close()


def test_what_is_no_video_is_refused(tmp_path, film, noise):
    path = tmp_path / "noise.mp4"
    path.write_bytes(noise.tobytes())
    with pytest.raises(Unusable, match=r"cannot be read as a video \(.+\)"):
        read_video(path, VideoReading())
    path.write_bytes(b"")
    with pytest.raises(Unusable, match="cannot be read as a video"):
        read_video(path, VideoReading())
    with pytest.raises(Unusable, match=r"20 x 30 pixels, outside of which the crop \[4,6,80,8\] reaches"):
        read_video(film(noise), VideoReading(crop=(4, 6, 80, 8)))
