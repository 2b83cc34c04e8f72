"""What a run says about itself while it goes: means since the last report, speed and time left; and the curve."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from crab_core.progress import Listener, Progress

NORM = "grad_norm"
Tracker = Callable[[str, int, Mapping[str, float]], None]  # stage, step, values


class Reports:
    """Collects values of steps and tells their means every `every` steps.

    The curve holds one entry a report: `loss`, `grad_norm`, `learning_rate`, a stage's own values, and `step`.
    """

    def __init__(
        self,
        stage: str,
        steps: int,
        every: int,
        on_progress: Listener,
        trackers: Sequence[Tracker] = (),
        offset: int = 0,
    ) -> None:
        self.stage, self.steps, self.every, self.on_progress = stage, steps, every, on_progress
        self.trackers, self.offset = trackers, offset
        self.curve: list[dict[str, float]] = []
        self._values: dict[str, list[float]] = {}
        self._last: dict[str, float] = {}
        self._tokens = 0.0
        self._began, self._since = time.monotonic(), 0

    def add(self, values: Mapping[str, float]) -> None:
        """The values of one step; `tokens`, if told, counts towards the speed."""
        for name, value in values.items():
            if name == "tokens":
                self._tokens += value
            else:
                self._values.setdefault(name, []).append(value)

    def set(self, **values: float) -> None:
        """Values of which the last one is told."""
        self._last |= values

    def step(self, done: int) -> None:
        """One step more is done: tells and notes down the means if it is time."""
        self._since += 1
        if done % self.every or not self._values:
            return
        means = {name: sum(values) / len(values) for name, values in self._values.items()}
        self.curve.append({**means, **self._last, "step": done})
        self._values = {}
        for tracker in self.trackers:
            tracker(self.stage, self.offset + done, self.curve[-1])
        shown = {name: value for name, value in {**means, **self._last}.items() if name != NORM}
        words = [f"{name} {value:.4g}" for name, value in shown.items()]
        self.on_progress(Progress(self.stage, done, self.steps, "steps", " ".join([*words, *self._speed(done)])))

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {"curve": self.curve, "values": self._values, "last": self._last}

    def take(self, state: Mapping[str, Any]) -> None:
        """Goes on from what `state` gave."""
        self.curve = [dict(entry) for entry in state["curve"]]
        self._values = {name: list(values) for name, values in state["values"].items()}
        self._last = dict(state["last"])

    def _speed(self, done: int) -> list[str]:
        """Words on tokens a second and the time left, measured in this process."""
        spent = max(1e-9, time.monotonic() - self._began)
        speed = [f"tokens/s {self._tokens / spent:.4g}"] if self._tokens else []
        return [*speed, f"left {clock(spent / self._since * (self.steps - done))}"]


def clock(seconds: float) -> str:
    """`0:07`, `12:05`, `3:02:10`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
