"""When to look: the published choice of frames, as times. No FFmpeg, no numpy."""

from __future__ import annotations

from crab_core.errors import UsageError


def published_frame_times(duration_s: float, n: int) -> tuple[float, ...]:
    """The starts of n equal intervals: `published_frame_times(10.0, 5)` is `(0.0, 2.0, 4.0, 6.0, 8.0)`.

    The published code takes frames `i * V // n` of V: the first frame of each interval, which is the one on screen at
    these times when the frame rate is constant. A still picture lasts 0 s: it is asked for n times at 0.0.
    Raises UsageError if n is negative or the duration is negative or not finite.
    """
    if n < 0:
        raise UsageError(f"cannot take {n} frames", hint="Ask for 0 frames or more.")
    if not 0 <= duration_s < float("inf"):
        raise UsageError(f"cannot spread frames over '{duration_s}' s", hint="Give a duration of 0 s or more.")
    return tuple(i * duration_s / n for i in range(n))
