"""A family that needs no weights: it sees and hears what the engine hands it, and says what a test told it to say.

Registered by the fixture `fake_model`; its model folder holds a header and one tiny safetensors file.
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
import pytest

from crab_core import registry
from crab_core.families._base import Encoded, Generated, OnText, Precision
from crab_core.types import Clip, Decoding, Prompt, View

SECONDS = 10
SAYS = {
    "avqa": "The dog is heard first. So the answer is <answer> dog </answer>.",
    "ave": "A dog is seen and heard. So the audible and visible event in the video is <event> dog </event>, "
    "and the time range is <range> 0,2 </range>.",
    "avvp": "<visual_event>dog,(0 2)</visual_event> and <audio_event>dog,(1 3)</audio_event>",
    "avcap": "a dog barks on the left .",
    "emotion": "She smiles. <answer>happy</answer>.",
    "action": "<answer>playing drums</answer>",
    "avqa-options": "It barks. <answer>dog</answer>.",
    "ssl": "The sounding object is dog. Its coordinates are <obj>(14,28)(140,196)</obj>.",
    "s4": "The object producing the sound is dog [14,28,140,196] and points [20,40],[60,80],[100,120].",
    "ref-avs": "<answer>true</answer> It is a dog [14,28,140,196] [20,40],[60,80],[100,120]",
    "a2v": "The second one barks. <answer>2</answer>.",
    "v2a": "<answer>1</answer>.",
}
ASKED = {
    "based on the options": "avqa-options",
    "Please answer": "avqa",
    "events and time range": "ave",
    "determine the events": "avvp",
    "find every object": "ssl",
    "object producing the sound": "s4",
    "object described as": "ref-avs",
    "person's emotion": "emotion",
    "the action taking place": "action",
    "the two videos matches": "a2v",
    "the two audio clips matches": "v2a",
}


@dataclass
class FakeNetwork:
    """Remembers what it was given; `says` maps a task to its text, or to an error to raise."""

    name: str = "fake"
    frame_size: tuple[int, int] | None = (8, 8)
    canvas_size: tuple[int, int] = (224, 224)
    says: dict[str, str | BaseException] = field(default_factory=lambda: dict(SAYS))
    clips: list[Clip] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    decodings: list[Decoding] = field(default_factory=list)
    stopped: str = "eos"

    def view(self, task: str, duration_s: float) -> View:
        """One look a second, ten for a longer clip."""
        second_s = duration_s / SECONDS if duration_s > SECONDS + 0.5 else 1.0
        count = max(1, min(SECONDS, int(duration_s)))
        times = tuple(i * min(second_s, duration_s / count) for i in range(count))
        width_s = 2.0 if task == "avqa" else 1.0
        return View(times, tuple((t, t + width_s) for t in times), second_s)

    def encode(self, clip: Clip, task: str) -> Encoded:
        """Nothing but the memory of the clip."""
        self.clips.append(clip)
        return Encoded({})

    def generate(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        """What the test said for the task that the prompt belongs to."""
        self.prompts.append(prompt)
        self.decodings.append(decoding)
        words = " ".join(part.text for part in prompt.parts)
        said = self.says[next((task for mark, task in ASKED.items() if mark in words), "avcap")]
        if isinstance(said, BaseException):
            raise said
        if on_text is not None:
            for word in said.split(" "):
                on_text(word + " ")
        return Generated(said, tuple(range(len(said.split()))), stopped=self.stopped)

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        """One at a time."""
        return [self.generate(one, prompt, decoding) for one, prompt in zip(encoded, prompts, strict=True)]


class FakeFamily:
    """Gives the same network every time, so that a test can look at it."""

    name = "fake"

    def __init__(self) -> None:
        self.network = FakeNetwork()
        self.loads: list[Precision] = []
        self.fails: BaseException | None = None

    def load(self, folder: Path, precision: Precision) -> FakeNetwork:
        """The network; raises what the test wants to see fail."""
        self.loads.append(precision)
        if self.fails is not None:
            raise self.fails
        return self.network


FAMILY = FakeFamily()


def write_model(folder: Path, **header: object) -> Path:
    """A model folder of the fake family with eight weights in it."""
    weights = {"w": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}
    described = json.dumps(weights).encode()
    data = struct.pack("<Q", len(described)) + described + bytes(32)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_bytes(data)
    facts = {"model.safetensors": {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}}
    document = {
        "name": "fake",
        "family": "fake",
        "config": {},
        "licence": "none",
        "files": facts,
        "format": 1,
        **header,
    }
    (folder / "crab.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


def write_clip(path: Path, seconds: float = 3.0, *, sound: bool = True, pictures: bool = True) -> Path:
    """A small clip: a moving square and a 440 Hz tone."""
    rate, fps = 16_000, 4
    with av.open(path, "w") as container:
        video = container.add_stream("mpeg4", rate=fps, width=32, height=24, pix_fmt="yuv420p") if pictures else None
        audio = container.add_stream("aac", rate=rate, layout="mono") if sound else None
        if video is not None:
            for i in range(int(seconds * fps)):
                picture = np.full((24, 32, 3), i * 7 % 256, np.uint8)
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(video.encode())
        if audio is not None:
            tone = np.sin(np.arange(int(seconds * rate)) * 2 * np.pi * 440 / rate).astype(np.float32)[None] / 2
            frame = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            frame.sample_rate = rate
            container.mux(audio.encode(frame))
            container.mux(audio.encode())
    return path


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> FakeFamily:
    """The fake family, fresh and registered as `fake`."""
    fresh = FakeFamily()
    monkeypatch.setattr(sys.modules[__name__], "FAMILY", fresh)
    entry = registry.Entry(f"{__name__}:FAMILY", "says what it is told", several_clips=True)
    monkeypatch.setitem(registry.FAMILIES, "fake", entry)
    return fresh


@pytest.fixture
def folder(family: FakeFamily, tmp_path: Path) -> Path:
    """A model folder of the fake family."""
    return write_model(tmp_path / "model")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Three seconds with pictures and sound."""
    return write_clip(tmp_path / "clip.mp4")
