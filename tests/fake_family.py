"""A family that needs no weights: it sees and hears what the engine hands it, and says what a test told it to say.

Registered by the fixture `fake_model`; its model folder holds a header and one tiny safetensors file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from crab_core.families._base import Encoded, Generated, OnText, Precision
from crab_core.types import Clip, Decoding, Prompt, View

SECONDS = 10
SAYS = {
    "avqa": "The dog is heard first. So the answer is <answer> dog </answer>.",
    "ave": "A dog is seen and heard. So the audible and visible event in the video is <event> dog </event>, "
    "and the time range is <range> 0,2 </range>.",
    "avvp": "<visual_event>dog,(0 2)</visual_event> and <audio_event>dog,(1 3)</audio_event>",
    "avcap": "a dog barks on the left .",
}
ASKED = {"Please answer": "avqa", "events and time range": "ave", "determine the events": "avvp"}


@dataclass
class FakeNetwork:
    """Remembers what it was given; `says` maps a task to its text, or to an error to raise."""

    name: str = "fake"
    frame_size: tuple[int, int] | None = (8, 8)
    says: dict[str, str | BaseException] = field(default_factory=lambda: dict(SAYS))
    clips: list[Clip] = field(default_factory=list)
    prompts: list[Prompt] = field(default_factory=list)
    decodings: list[Decoding] = field(default_factory=list)
    stopped: str = "eos"

    def view(self, task: str, duration_s: float) -> View:
        """One look a second, ten for a longer clip."""
        second_s = max(1.0, duration_s / SECONDS)
        count = max(1, min(SECONDS, int(duration_s)))
        times = tuple(i * second_s for i in range(count))
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
