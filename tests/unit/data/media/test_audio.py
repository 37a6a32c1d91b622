"""Sound out of files: rates, channels, formats, features, and what is wrong with them."""

import json
import wave

import numpy as np
import pytest
from read_data import read_classified, read_labelled_steps

from selfloop.data.examples import BadItems, Unusable
from selfloop.data.media.audio import AudioReading, filters, log_mel, read_audio
from selfloop.data.reading import Reading

av = pytest.importorskip("av")

SAMPLES = AudioReading(rate=8_000, mels=None)


def tone(frequency, rate, seconds=0.5, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def write_wav(path, channels, rate, width=2):
    scaled = (np.stack(channels, -1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(scaled.tobytes())


def write(path, codec, samples, rate):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(
            format=stream.format.name, layout="mono", rate=rate, frame_size=stream.frame_size or None
        )
        for out in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(out))
        container.mux(stream.encode(None))


def pitch(samples, rate):
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return spectrum.argmax() * rate / len(samples)


def test_samples_of_a_wav_are_what_was_written(tmp_path):
    sound = tone(440, 8_000)
    write_wav(tmp_path / "a.wav", [sound], 8_000)
    read = read_audio(tmp_path / "a.wav", SAMPLES)
    assert (read.shape, read.dtype) == ((4_000, 1), np.float32)
    np.testing.assert_allclose(read[:, 0], sound, atol=1e-4)


@pytest.mark.parametrize("rate", [8_000, 11_025, 44_100])
def test_sound_is_brought_to_one_rate(tmp_path, rate):
    write_wav(tmp_path / "a.wav", [tone(440, rate)], rate)
    read = read_audio(tmp_path / "a.wav", AudioReading(rate=16_000, mels=None))[:, 0]
    assert abs(len(read) - 8_000) <= 64
    assert abs(pitch(read, 16_000) - 440) < 3


def test_two_channels_are_mixed_or_kept_apart(tmp_path):
    left, right = tone(440, 8_000), tone(880, 8_000)
    write_wav(tmp_path / "a.wav", [left, right], 8_000)
    both = read_audio(tmp_path / "a.wav", AudioReading(8_000, stereo=True, mels=None))
    np.testing.assert_allclose(both, np.stack([left, right], -1), atol=1e-4)
    mixed = read_audio(tmp_path / "a.wav", SAMPLES)
    np.testing.assert_allclose(mixed[:, 0], (left + right) / 2, atol=1e-4)
    assert read_audio(tmp_path / "a.wav", AudioReading(8_000, stereo=True, mels=20)).shape[1] == 40


@pytest.mark.parametrize(("name", "codec"), [("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("a.ogg", "libopus")])
def test_other_formats_sound_the_same(tmp_path, name, codec):
    if codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no {codec}")
    write(tmp_path / name, codec, tone(440, 48_000, seconds=1), 48_000)
    read = read_audio(tmp_path / name, AudioReading(16_000, mels=None))[:, 0]
    assert abs(len(read) / 16_000 - 1) < 0.1
    assert abs(pitch(read[2_000:14_000], 16_000) - 440) < 3


def test_a_tone_is_in_the_filter_of_its_pitch():
    features = log_mel(tone(1_000, 16_000), 16_000, 40)
    assert features.shape == (48, 40)
    kernels = filters(16_000, 512, 40)
    expected = kernels[:, round(1_000 / 8_000 * 256)].argmax()
    assert set(features.argmax(1)) == {expected}


def test_silence_is_the_floor_and_ten_times_the_sound_is_log_100_more():
    assert np.unique(log_mel(np.zeros(4_000), 8_000, 20)) == pytest.approx(np.log(1e-6))
    quiet, loud = (log_mel(tone(1_000, 8_000, amplitude=a), 8_000, 20) for a in (0.05, 0.5))
    best = loud[0].argmax()
    assert (loud - quiet)[:, best] == pytest.approx(np.log(100), abs=1e-3)


def test_filters_cover_all_frequencies_between_their_ends():
    kernels = filters(16_000, 512, 40)
    inside = (np.linspace(0, 8_000, 257) > 60) & (np.linspace(0, 8_000, 257) < 7_700)
    assert (kernels >= 0).all() and (kernels.sum(0)[inside] > 0).all()
    assert kernels.sum(0).max() <= 1 + 1e-9


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", r"cannot be read as sound \(.+\)"),
        (b"RIFF\0\0\0\0WAVEfmt ", r"cannot be read as sound|holds no sound"),
        (b"this is text\n" * 100, r"cannot be read as sound \(.+\)"),
    ],
)
def test_what_is_no_sound_is_told(tmp_path, content, said):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(Unusable, match=said):
        read_audio(tmp_path / "a.wav", SAMPLES)


def test_a_sound_shorter_than_a_step_is_told(tmp_path):
    write_wav(tmp_path / "a.wav", [tone(440, 8_000, seconds=0.02)], 8_000)
    with pytest.raises(Unusable, match=r"holds 0\.020 s of sound, and a step needs 0\.025 s"):
        read_audio(tmp_path / "a.wav", AudioReading(8_000))


def test_a_folder_of_sounds_for_each_class_is_classified(tmp_path):
    for name, frequency in (("high", 2_000), ("low", 200)):
        (tmp_path / name).mkdir()
        for k in range(6):
            write_wav(tmp_path / name / f"{k}.wav", [tone(frequency + 10 * k, 8_000, seconds=0.1 + 0.02 * k)], 8_000)
    audio = AudioReading(8_000, mels=20)
    found = read_classified(tmp_path, audio=audio, bad=BadItems(), valid_fraction=0.2)
    assert (found.kind, found.train.inputs[0].shape[1]) == ("series", 20)
    assert {*found.train.labels} == {"high", "low"}
    samples = read_classified(tmp_path, audio=AudioReading(8_000, mels=None), bad=BadItems(), valid_fraction=0.2)
    assert samples.train.inputs[0].shape[1] == 1


def test_a_table_names_sounds_with_their_class_or_the_labels_of_their_steps(tmp_path):
    lines = ["file,label"]
    for k in range(8):
        write_wav(tmp_path / f"{k}.wav", [tone(300 + 900 * (k % 2), 8_000, seconds=0.1)], 8_000)
        lines.append(f"{k}.wav,{'ab'[k % 2]}")
    (tmp_path / "sounds.csv").write_text("\n".join(lines))
    found = read_classified(tmp_path / "sounds.csv", audio=AudioReading(8_000, mels=20), bad=BadItems())
    assert found.train.inputs[0].shape == (8, 20)
    rows = [{"file": f"{k}.wav", "labels": ["ab"[k % 2]] * 8} for k in range(8)]
    (tmp_path / "steps.jsonl").write_text("\n".join(map(json.dumps, rows)))
    steps = read_labelled_steps(tmp_path / "steps.jsonl", Reading(audio=AudioReading(8_000, mels=20)))
    assert (steps.kind, steps.train.inputs[0].shape) == ("series", (8, 20))
