"""Draws docs/img/hero.png: a shipped clip, its sound, what the embedded model finds in it, a question and its answer.

python docs/hero.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import crab_core
from crab_core.media import load_clip, probe
from crab_core.types import Event, Result, View

HERE = Path(__file__).parent
CLIP = HERE.parent / "examples" / "clips" / "00001.mp4"
QUESTION = "Is the piano always playing?"
WIDTH, MARGIN, FRAMES, SIDE = 1280, 40, 5, 228
INK, SOFT, PAPER = (28, 32, 44), (110, 118, 134), (255, 255, 255)
SEEN, HEARD, WAVE = (0, 114, 178), (213, 94, 0), (0, 158, 115)  # Okabe and Ito's colour-blind-safe hues


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's own font, so that the picture is the same everywhere."""
    return ImageFont.load_default(size)


def wave(draw: ImageDraw.ImageDraw, sound: np.ndarray, top: int, height: int) -> None:
    """The sound as one bar a pixel column."""
    columns = WIDTH - 2 * MARGIN
    peaks = np.array([np.abs(part).max() for part in np.array_split(sound, columns)])
    peaks = peaks / max(peaks.max(), 1e-6)
    for column, peak in enumerate(peaks):
        half = max(1, int(peak * height / 2))
        middle = top + height // 2
        draw.line((MARGIN + column, middle - half, MARGIN + column, middle + half), fill=WAVE)


def bar(draw: ImageDraw.ImageDraw, event: Event, top: int, duration_s: float) -> None:
    """One event as a labelled bar under the time axis."""
    scale = (WIDTH - 2 * MARGIN) / duration_s
    x0, x1 = MARGIN + event.start_s * scale, MARGIN + event.end_s * scale
    colour, verb = (SEEN, "seen") if event.track == "visual" else (HEARD, "heard")
    draw.rounded_rectangle((x0 + 2, top, x1 - 2, top + 30), radius=7, fill=colour)
    draw.text((x0 + 14, top + 4), f"{event.label}: {verb} {event.start_s:g} to {event.end_s:g} s", PAPER, font(18))


def picture(answered: Result, parsed: Result) -> Image.Image:
    """The whole picture."""
    seconds = probe(CLIP).duration_s
    times = tuple((number + 0.5) * seconds / FRAMES for number in range(FRAMES))
    clip = load_clip(CLIP, View(times, ((0.0, seconds),)), frame_size=(SIDE, SIDE))
    height = 500 + 38 * len(parsed.events)
    image = Image.new("RGB", (WIDTH, height), PAPER)
    draw = ImageDraw.Draw(image)
    gap = (WIDTH - 2 * MARGIN - FRAMES * SIDE) // (FRAMES - 1)
    for number, frame in enumerate(clip.frames):
        left = MARGIN + number * (SIDE + gap)
        image.paste(Image.fromarray(frame), (left, MARGIN))
        draw.text((left + 2, MARGIN + SIDE + 4), f"{times[number]:g} s", SOFT, font(16))
    wave(draw, clip.waveform, MARGIN + SIDE + 32, 60)
    top = MARGIN + SIDE + 104
    for event in parsed.events:
        bar(draw, event, top, seconds)
        top += 38
    assert answered.answer is not None
    draw.text((MARGIN, top + 14), answered.question or "", INK, font(26))
    draw.text((MARGIN, top + 52), answered.answer.reasoning, SOFT, font(20))
    draw.text((MARGIN, top + 82), answered.answer.text, HEARD, font(30))
    return image


def main() -> None:
    """Asks the embedded model and draws."""
    seen = crab_core.load("mini", device="cpu").look(CLIP)
    target = HERE / "img" / "hero.png"
    target.parent.mkdir(exist_ok=True)
    picture(seen.ask(QUESTION), seen.ask(task="avvp")).save(target, optimize=True)


if __name__ == "__main__":
    main()
