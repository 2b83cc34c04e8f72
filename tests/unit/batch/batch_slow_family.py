"""A family for tests in real processes: its answer tells the clip, it takes SLOW_S a clip, and some clips kill it.

A clip whose name begins with `die` ends its process at once; one that begins with `bad` fails. Without torch.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from crab_core.families._base import Encoded, Generated, OnText, Precision
from crab_core.types import Clip, Decoding, Prompt, View


class SlowNetwork:
    """Says how long the clip is and how many frames it has."""

    name = "slow"
    frame_size = (8, 8)

    def view(self, task: str, duration_s: float) -> View:
        return View((0.0,), ((0.0, 1.0),))

    def encode(self, clip: Clip, task: str) -> Encoded:
        name = clip.path.name
        if name.startswith("die"):
            os._exit(9)
        if name.startswith("bad"):
            raise ValueError(f"{name} is bad")
        return Encoded({"text": f"{clip.duration_s:.2f}"})  # type: ignore[dict-item]

    def generate(
        self, encoded: Encoded, prompt: Prompt, decoding: Decoding, on_text: OnText | None = None
    ) -> Generated:
        time.sleep(float(os.environ.get("SLOW_S", "0")))
        return Generated(f"So the answer is <answer> {encoded.features['text']} </answer>.", (1, 2))

    def generate_batch(
        self, encoded: Sequence[Encoded], prompts: Sequence[Prompt], decoding: Decoding
    ) -> list[Generated]:
        return [self.generate(one, prompt, decoding) for one, prompt in zip(encoded, prompts, strict=True)]


class SlowFamily:
    name = "slow"

    def load(self, folder: Path, precision: Precision) -> SlowNetwork:
        return SlowNetwork()


FAMILY = SlowFamily()
