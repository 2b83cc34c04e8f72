"""Clips of lessons as tensors: decoded by workers ahead of time, encoded once if a cache is given, bad ones counted.

A clip that cannot be decoded is left out of its step and told; nothing takes its place. Beyond a share of the clips the
run ends. Letters: N frames, S seconds of sound, P patches, n sound tokens, D width, H, W sides of a mask.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from crab_core.data.pixels import class_map, mask_pixels
from crab_core.data.places import inside
from crab_core.engine.checks import require
from crab_core.engine.moments import look_at
from crab_core.errors import CrabError, InputError, ResourceError
from crab_core.families._base import Encoded
from crab_core.media import load_clip, probe
from crab_core.progress import Listener, Note, ignore
from crab_core.registry import TASKS
from crab_core.tasks.pictures import at_second, ordinal
from crab_core.train.lesson_index import LessonIndex
from crab_core.train.lessons import MASK_TASKS, Lesson, Text, whole_target
from crab_core.types import Prompt, Request

if TYPE_CHECKING:
    from crab_core.train.roles import OpenNetwork
    from crab_core.types import View

Tensors = dict[str, torch.Tensor]
AHEAD = 2  # steps that workers are ahead


@dataclass(frozen=True)
class Looked:
    """A lesson as it is shown: for each text its prompt, what to write and the pixels meant (H, W) or None.

    Pixels are bool, or for a semantic mask int64 classes.

    `media` holds `frames` (N, 3, H, W) and `banks` (S, L, 128), or what frozen encoders gave: `seen` (N, P, D), `heard`
    (S, n, D) and, for masks, `layer_0` and `layer_1` (1, P, D). A lacking medium is absent.
    """

    lesson: Lesson
    prompts: tuple[Prompt, ...]
    targets: tuple[str, ...]
    truths: tuple[torch.Tensor | None, ...]
    media: Tensors
    picture: int | None
    key: str = ""

    @property
    def is_encoded(self) -> bool:
        """True if the encoders are done with it."""
        return not {"frames", "banks"} & set(self.media)


@dataclass
class Looker:
    """Looks at lessons for a network. `encoders` names the very encoders in the cache; `profile` words the prompts."""

    network: OpenNetwork
    profile: str
    lessons: LessonIndex
    workers: int = 2
    cache: Path | None = None
    encoders: str = ""
    most_skipped: float = 0.1
    on_progress: Listener = ignore
    skipped: dict[str, str] = field(default_factory=dict)
    _ahead: dict[int, Future[Looked | CrabError]] = field(default_factory=dict)
    _pool: ThreadPoolExecutor | None = None

    def prepare(self, numbers: Sequence[int]) -> None:
        """Lets the workers begin with these lessons."""
        if self.workers and self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, "crab-media")
        for number in numbers:
            if self._pool is not None and number not in self._ahead:
                self._ahead[number] = self._pool.submit(self._try, self.lessons[number])

    def look(self, numbers: Sequence[int]) -> list[Looked]:
        """The lessons that can be shown; the others are told, once a clip. Raises InputError if they are too many."""
        found = []
        for number in numbers:
            waiting = self._ahead.pop(number, None)
            one = waiting.result() if waiting is not None else self._try(self.lessons[number])
            if isinstance(one, Looked):
                found.append(one)
            else:
                self._skip(self.lessons[number], one)
        return found

    def keep(self, looked: Looked) -> None:
        """Puts what the encoders gave into the cache."""
        if self.cache is None or not looked.key:
            return
        from safetensors.torch import save_file

        path = self._place(looked.key)
        aside = path.with_suffix(f".{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file({name: one.contiguous() for name, one in looked.media.items()}, aside)
            aside.replace(path)
        except OSError as err:
            raise ResourceError(
                f"cannot write into the cache '{self.cache}': {err.strerror or err}",
                hint="Make room, or train without --cache.",
            ) from err
        finally:
            aside.unlink(missing_ok=True)

    def close(self) -> None:
        """Ends the workers."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _skip(self, lesson: Lesson, err: CrabError) -> None:
        if lesson.file in self.skipped:
            return
        self.skipped[lesson.file] = err.message
        self.on_progress(Note(f"'{lesson.file}' is left out: {err.message}", seen=True))
        clips = self.lessons.clips
        if len(self.skipped) > self.most_skipped * clips:
            raise InputError(
                f"{len(self.skipped)} of {clips} clips cannot be used, more than {self.most_skipped:.0%}; "
                f"the last: {err.message}",
                hint="Check them: crab data check FILE --probe. Or raise data.most_skipped.",
            )

    def _try(self, lesson: Lesson) -> Looked | CrabError:
        try:
            return self._look(lesson)
        except (InputError, OSError) as err:
            return err if isinstance(err, CrabError) else InputError(f"cannot read '{lesson.file}': {err}")

    def _look(self, lesson: Lesson) -> Looked:
        task = TASKS[lesson.task].load()
        path = inside(lesson.root, lesson.file)
        sound = inside(lesson.root, lesson.audio) if lesson.audio else None
        found = probe(path, sound)
        require(Request(path, lesson.task, audio_path=sound), task, sound=found.has_audio, picture=found.has_video)
        prompts = [task.wording(text.question, self.profile) for text in lesson.texts]
        view, picture = self._view(lesson, prompts[0], found.duration_s)
        named = picture is not None and "video" in prompts[0].media
        word = ordinal((picture or 0) + 1) if named else None
        key = self._key(lesson, path, sound, view, picture)
        media = self._cached(key)
        if media is None:
            clip = load_clip(path, view, audio_path=sound, frame_size=self.network.frame_size)
            media = dict(self.network.tensors_of(clip))
        return Looked(
            lesson,
            tuple(at_second(prompt, (picture or 0) + 1) for prompt in prompts),
            tuple(whole_target(text, lesson.task, word) for text in lesson.texts),
            tuple(_truth(text, lesson.root) for text in lesson.texts),
            media,
            picture,
            key,
        )

    def _view(self, lesson: Lesson, prompt: Prompt, duration_s: float) -> tuple[View, int | None]:
        if lesson.time_s is None:
            return self.network.view(lesson.task, duration_s), None
        task = TASKS[lesson.task].load()
        if lesson.time_s > duration_s:
            raise InputError(f"{lesson.time_s:g} s lies beyond its end at {duration_s:.2f} s")
        look = look_at(self.network, task, prompt, self.profile, duration_s, lesson.time_s)
        return look.view, look.picture

    def _key(self, lesson: Lesson, path: Path, sound: Path | None, view: View, picture: int | None) -> str:
        if self.cache is None or not self.encoders:
            return ""
        facts: list[Any] = [self.encoders, view, picture if lesson.task in MASK_TASKS else None]
        for one in (path, sound):
            if one is not None:
                stat = one.stat()
                facts.append((str(one.resolve()), stat.st_size, stat.st_mtime_ns))
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]

    def _cached(self, key: str) -> Tensors | None:
        if not key or not (path := self._place(key)).is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except (OSError, SafetensorError):
            return None  # made again

    def _place(self, key: str) -> Path:
        assert self.cache is not None
        return self.cache / key[:2] / f"{key}.safetensors"


def _truth(text: Text, root: Path) -> torch.Tensor | None:
    """(H, W) the pixels of all masks of a text, bool, or the class of each pixel, int64; None without any."""
    if text.classes is not None:
        return torch.from_numpy(class_map(inside(root, text.classes)))
    if not text.masks:
        return None
    pixels = [mask_pixels(mask, root) for mask in text.masks]
    if len({one.shape for one in pixels}) > 1:
        raise InputError("masks of one picture differ in size")
    return torch.from_numpy(np.logical_or.reduce(pixels))


def placed(looked: Looked, features: Mapping[str, torch.Tensor]) -> Encoded:
    """Query tokens by medium as a network's own encoding has them: `video` and `audio`, and the picture."""
    named: dict[Any, torch.Tensor] = dict(features)
    encoded = Encoded(named)
    return encoded.at(looked.picture) if looked.picture is not None else encoded
