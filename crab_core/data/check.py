"""Everything that is wrong with a data file, line by line: what training or scoring would stumble over later.

Memory grows with the names and the media of a file, not with its annotations.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from crab_core.data.lines import BadLine, read_samples
from crab_core.data.pixels import CLASSES, class_map, mask_pixels
from crab_core.data.places import inside
from crab_core.data.sample import MaskRef, Sample, label_key
from crab_core.errors import CrabError, InputError

Kind = Literal["line", "id", "path", "media", "time", "box", "mask", "label", "leak"]
SLACK_S = 0.05  # an end may lie this much beyond a length, which containers round
Told = tuple[Kind, str]
_ENDS_BYTES = 1 << 16  # read at both ends of a file to know it again


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a line of a file."""

    file: str
    line: int
    kind: Kind
    message: str


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """`labels`, if there are any, are all that are known. Without `media` no file is looked at but the data file;
    `probe` opens every clip to learn its length, not only those whose line does not tell it."""

    labels: frozenset[str] = frozenset()
    media: bool = True
    probe: bool = False


@dataclass
class Check:
    """Goes through data files once; `samples`, `annotated` and `splits` are counted on the way.

    Media are under the root, else under each file's folder. With several files, a line without a split is of the split
    that its file is called.
    """

    paths: Sequence[Path]
    root: Path | None = None
    options: CheckOptions = CheckOptions()
    lines: int = 0
    samples: int = 0
    annotated: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    _ids: dict[str, int] = field(default_factory=dict)  # of the file at hand
    _homes: dict[str, tuple[str, str]] = field(default_factory=dict)  # media -> the split and place that had it first
    _path: Path = Path()

    def problems(self) -> Iterator[Problem]:
        """Every problem, in the order of the lines; raises InputError if a file cannot be read."""
        for path in self.paths:
            self._path, self._ids = path, {}
            for found in read_samples(path):
                self.lines += 1
                if isinstance(found, BadLine):
                    yield from (Problem(str(path), found.line, "line", text) for text in found.mistakes)
                    continue
                sample = replace(found, split=found.split or path.stem) if len(self.paths) > 1 else found
                self._count(sample)
                yield from (Problem(str(path), sample.line, kind, text) for kind, text in self._of(sample))

    @property
    def _root(self) -> Path:
        return self.root or self._path.parent

    def _of(self, sample: Sample) -> Iterator[Told]:
        yield from self._name(sample)
        yield from self._labels(sample)
        yield from _boxes(sample)
        yield from self._files(sample)
        files = self._there(sample)
        yield from self._times(sample, files[0] if files and self._is_there(sample.file) else None)
        if self.options.media:
            yield from self._masks(sample)
        if sample.split:
            yield from self._leaks(sample, files)

    def _count(self, sample: Sample) -> None:
        self.samples += 1
        self.splits[sample.split] += 1
        for key in ("questions", "events", "frames", "expressions", "captions", "targets", "labels"):
            self.annotated[key] += len(getattr(sample, key) or ())

    def _name(self, sample: Sample) -> Iterator[Told]:
        first = self._ids.setdefault(sample.id, sample.line)
        if first != sample.line:
            yield "id", f"the id '{sample.id}' is that of line {first} too"
        annotations = (sample.questions, sample.events, sample.frames, sample.expressions, sample.captions)
        if all(one is None for one in (*annotations, sample.targets, sample.labels)):
            yield "line", "nothing is annotated"

    def _labels(self, sample: Sample) -> Iterator[Told]:
        known = self.options.labels
        told = [event.label for event in sample.events or ()]
        for frame in sample.frames or ():
            told += [box.label for box in frame.boxes or ()] + [mask.label for mask in frame.masks or () if mask.label]
        for label in dict.fromkeys(told):
            if known and label_key(label) not in known:
                yield "label", f"the label '{label}' is none of the {len(known)} known"

    def _files(self, sample: Sample) -> Iterator[Told]:
        """Bad paths and missing media."""
        for name in (sample.file, sample.audio, *sample.choices):
            if name is None:
                continue
            try:
                path = inside(self._root, name)
            except InputError as err:
                yield "path", err.message
                continue
            if self.options.media and not path.is_file():
                yield "media", f"there is no file '{name}'" if not path.exists() else f"'{name}' is no file"

    def _there(self, sample: Sample) -> list[Path]:
        """The media of a sample that can be looked at."""
        return [self._root / name for name in (sample.file, sample.audio) if name is not None and self._is_there(name)]

    def _is_there(self, name: str) -> bool:
        if not self.options.media:
            return False
        try:
            return inside(self._root, name).is_file()
        except InputError:
            return False

    def _times(self, sample: Sample, clip: Path | None) -> Iterator[Told]:
        times = [(f"the event '{event.label}' ends at", event.end_s) for event in sample.events or ()]
        times += [("a frame is at", frame.time_s) for frame in sample.frames or ()]
        times += [(f"'{one.text}' is asked at", one.time_s) for one in sample.expressions or ()]
        length_s = sample.seconds
        if clip is not None and (self.options.probe or (times and length_s is None)):
            try:
                true_s = _length_s(sample, clip, self._root)
            except CrabError as err:
                yield "media", err.message
                true_s = 0.0
            if true_s and length_s is not None and abs(true_s - length_s) > 0.5:
                yield "time", f"'seconds' is {length_s:g}, but '{sample.file}' lasts {true_s:.2f} s"
            length_s = true_s or length_s
        for told, time_s in times:
            if length_s is not None and time_s > length_s + SLACK_S:
                yield "time", f"{told} {time_s:g} s, beyond the clip's {length_s:g} s"

    def _masks(self, sample: Sample) -> Iterator[Told]:
        for number, frame in enumerate(sample.frames or ()):
            for mask in frame.masks or ():
                yield from self._mask(sample, mask, f"of frame {number}")
            if frame.classes is not None:
                yield from self._classes(frame.classes)
        for one in sample.expressions or ():
            if one.mask is not None:
                yield from self._mask(sample, one.mask, f"of '{one.text}'")

    def _mask(self, sample: Sample, mask: MaskRef, where: str) -> Iterator[Told]:
        try:
            pixels = mask_pixels(mask, self._root)
        except InputError as err:
            yield "path" if "leads out" in err.message else "media", err.message
            return
        if not pixels.any():
            yield "mask", f"the mask {where} is empty; leave it out, or write null for an expression"
        if sample.size is not None and pixels.shape[::-1] != sample.size:
            told, size = (f"{width} x {height}" for width, height in (pixels.shape[::-1], sample.size))
            yield "mask", f"the mask {where} has {told} pixels, the frame {size}"

    def _classes(self, name: str) -> Iterator[Told]:
        try:
            indices = class_map(inside(self._root, name))
        except InputError as err:
            yield "path" if "leads out" in err.message else "media", err.message
            return
        if not indices.any():
            yield "mask", f"the map '{name}' is all background"
        if int(indices.max()) >= CLASSES:
            yield "label", f"the map '{name}' has class '{int(indices.max())}', beyond the {CLASSES - 1} of AVSBench"

    def _leaks(self, sample: Sample, files: list[Path]) -> Iterator[Told]:
        """A clip, by its name or by its content, that another split has too; told once a line."""
        keys = [(f"name {one}", one, "is") for one in (sample.file, sample.audio) if one]
        keys += [(f"content {_signature(path)}", path.name, "has the content of a file") for path in files]
        for key, name, same in keys:
            place = f"line {sample.line} of '{self._path}'" if len(self.paths) > 1 else f"line {sample.line}"
            split, first = self._homes.setdefault(key, (sample.split, place))
            if split != sample.split:
                yield "leak", f"'{name}' of split '{sample.split}' {same} in split '{split}' too, {first}"
                return


def _boxes(sample: Sample) -> Iterator[Told]:
    if sample.size is None:
        return
    width, height = sample.size
    for frame in sample.frames or ():
        for box in frame.boxes or ():
            if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height:
                corners = f"{box.x0:g},{box.y0:g} to {box.x1:g},{box.y1:g}"
                yield "box", f"the box {corners} of '{box.label}' is not within the frame's {width} x {height}"


def _length_s(sample: Sample, clip: Path, root: Path) -> float:
    """How long the clip lasts, or the sound beside a still; raises CrabError for a file that is no medium."""
    from crab_core.media.probing import probe

    sound = inside(root, sample.audio) if sample.audio else None
    return probe(clip, sound).duration_s


def _signature(path: Path) -> str:
    """What tells a file from others without reading it all: its size and both ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(_ENDS_BYTES)
        file.seek(max(size - _ENDS_BYTES, 0))
        return hashlib.blake2b(size.to_bytes(8, "big") + head + file.read(_ENDS_BYTES), digest_size=16).hexdigest()
