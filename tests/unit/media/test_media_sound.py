"""Sound of windows is that of decoding the whole track and cutting it, at 16 kHz."""

from __future__ import annotations

import av
import numpy as np
import pytest
from media_files import Sound, tones

from crab_core.media import load_clip, probe
from crab_core.types import View

WINDOWS = ((0.0, 1.0), (0.5, 1.25), (9.3, 10.4), (3.123456, 4.7), (11.5, 13.0), (-0.5, 0.5), (6.0, 6.5))

# name, sound, av.open's arguments, largest error beside full decoding and where codecs with a long memory are let off
TRACKS = {
    "wav-16-kHz-mono": ("a16.wav", Sound(tones(12, 16_000), "pcm_s16le", 16_000, "s16"), {}, 0.0),
    "wav-44100-stereo": ("a44.wav", Sound(tones(12, 44_100, 2), "pcm_s16le", 44_100, "s16"), {}, 0.0),
    "wav-float-5.1-48-kHz": ("a51.wav", Sound(tones(12, 48_000, 6), "pcm_f32le", 48_000, "flt"), {}, 0.0),
    "wav-8-kHz": ("a8.wav", Sound(tones(12, 8_000), "pcm_s16le", 8_000, "s16"), {}, 0.0),
    "flac-22050": ("a22.flac", Sound(tones(12, 22_050), "flac", 22_050, "s16"), {}, 0.0),
    "aac-m4a-44100-stereo": ("a.m4a", Sound(tones(12, 44_100, 2)), {}, 0.0),
    "aac-m4a-48-kHz": ("a48.m4a", Sound(tones(12, 48_000), rate_hz=48_000), {}, 0.0),
    "aac-mpegts": ("a.ts", Sound(tones(12)), {}, 0.0),
    "aac-adts-without-times": ("a.aac", Sound(tones(12)), {}, 0.0),
    "aac-mkv-whole-milliseconds": ("a.mka", Sound(tones(12)), {"format": "matroska"}, 0.0),
    "mp3": ("a.mp3", Sound(tones(12), "libmp3lame"), {}, 0.0),
    "opus-webm": ("a.webm", Sound(tones(12, 48_000), "libopus", 48_000, "flt"), {}, 2e-3),
    "opus-ogg": ("a.ogg", Sound(tones(12, 48_000), "libopus", 48_000, "flt"), {}, 2e-3),
    "pcm-mov-44100": ("a.mov", Sound(tones(12), "pcm_s16le", 44_100, "s16"), {}, 0.0),
}


def whole_track(path) -> np.ndarray:
    """The whole track as mono 16 kHz, the straight way: decode all, average the channels, resample all."""
    blocks = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray()
            if not frame.format.is_planar:
                samples = samples.reshape(-1, frame.layout.nb_channels).T
            scale = (
                32768 if frame.format.name.startswith("s16") else 2**31 if frame.format.name.startswith("s32") else 1
            )
            blocks.append(
                (samples.mean(axis=0, dtype=np.float64 if scale > 1 else np.float32) / scale).astype(np.float32)
            )
        rate = frame.sample_rate
    frame = av.AudioFrame.from_ndarray(np.concatenate(blocks)[None], format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
    made = [*resampler.resample(frame), *(resampler.resample(None) if rate != 16_000 else [])]
    return np.concatenate([f.to_ndarray()[0] for f in made])


def cut(track: np.ndarray, start_s: float, end_s: float) -> np.ndarray:
    first, count = round(start_s * 16_000), round((end_s - start_s) * 16_000)
    padded = np.concatenate([np.zeros(32_000, np.float32), track, np.zeros(64_000, np.float32)])
    return padded[32_000 + first : 32_000 + first + count]


@pytest.mark.parametrize("case", TRACKS)
def test_windows_equal_the_whole_track_cut(make, case: str) -> None:
    name, sound, how, error = TRACKS[case]
    path = make(name, None, sound, **how)
    clip = load_clip(path, View((), WINDOWS))
    expected = np.concatenate([cut(whole_track(path), *window) for window in WINDOWS])
    assert clip.waveform.shape == expected.shape
    assert clip.waveform.dtype == np.float32
    assert np.abs(clip.waveform - expected).max() <= error
    assert clip.audio == "used"
    assert clip.sound_windows_s == WINDOWS
    assert clip.frames.shape[0] == 0


@pytest.mark.parametrize("case", TRACKS)
def test_the_track_is_the_sound_that_was_written(make, case: str) -> None:
    name, sound, how, _ = TRACKS[case]
    path = make(name, None, sound, **how)
    assert probe(path).duration_s == pytest.approx(12, abs=0.15)
    heard = load_clip(path, View((), ((5.0, 6.0),))).waveform
    truth = sound.samples.mean(axis=0)[5 * sound.rate_hz : 6 * sound.rate_hz]
    truth = np.interp(np.arange(16_000) / 16_000, np.arange(len(truth)) / sound.rate_hz, truth)
    delay = 0 if name != "a.aac" else 1024 * 16_000 / 44_100  # bare AAC does not say how much of its start is filler
    lags = np.arange(-60, 400)
    scores = [float(np.dot(truth[1000:15_000], heard[1000 + lag : 15_000 + lag])) for lag in lags]
    late = lags[int(np.argmax(scores))] - delay
    assert abs(late) <= 24 or (name in {"a.ts", "a.mka"} and 0 < late < 400)  # these two keep AAC's filler
