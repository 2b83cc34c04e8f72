"""What can be asked of one second of a scene: where the thing that sounds stands, and which pixels show it.

One picture and the sound of its second, much as the quick-start data of the Crab release (arXiv 2503.13068) has it: the
sounding object and its box (`arig`), all of them (`ssl`), the mask of one (`s4`) or of several (`ms3`), and the mask
of what an expression means (`ref-avs`), which may be nothing. A mask is told as the drawings that make it.
Letters: H, W of a map of instance ids.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from crab_core.tasks.sights import NOTHING, write_box, write_boxes, write_mask, write_referred
from crab_core.tasks.wording import MOMENT
from crab_core.types import Box, Mask
from crab_core.world.dice import Dice
from crab_core.world.labels import MIN_BOX_SHARE
from crab_core.world.narration import CLASSES, listed
from crab_core.world.questions import Sample
from crab_core.world.scene import SPLITS
from crab_core.world.spec import Actor, Column, Figure, Scene

TASKS_WITH_MASKS = ("s4", "ms3", "ref-avs")
MOMENT_TASKS: tuple[str, ...] = ("arig", "ssl", *TASKS_WITH_MASKS)
COORDINATES = 100  # a box is told in hundredths of the picture
_PICTURES = 2504  # the stream of `describe_pictures` beside the scene's own seed
SOUNDING_SHARE = 0.8  # of the pictures are of a second in which something sounds that is seen
EXPRESSIONS = (  # their kinds
    "ref_name", "ref_absent", "ref_silent", "ref_sounding", "ref_loudest", "ref_softest", "ref_place",
)  # fmt: skip
CLEAR_DB = 3.0  # between the two loudest, or the two softest, sounds that an expression tells apart


@dataclass(frozen=True, slots=True)
class Sight:
    """One drawing that is visible in the picture: its instance id, whether it is heard now, its box in hundredths."""

    actor: Actor
    figure: Figure
    number: int
    sounds: bool
    box: tuple[int, int, int, int]

    @property
    def name(self) -> str:
        """The name of its class."""
        return self.actor.name


def sights(scene: Scene, second: int, ids: npt.NDArray[np.uint8]) -> tuple[Sight, ...]:
    """What the picture (H, W) of that second shows, from the back to the front, without what is nearly hidden."""
    found = []
    for number, (actor, figure) in enumerate(scene.figures, start=1):
        box = _box(ids == number)
        if box is not None:
            sounds = actor.heard is not None and actor.heard.holds(second)
            found.append(Sight(actor, figure, number, sounds, box))
    return tuple(found)


def pick_second(scene: Scene, rng: np.random.Generator) -> int:
    """A second of the scene, mostly one in which something that is seen can be heard."""
    sounding = [
        second
        for second in range(scene.seconds)
        if any(one.heard and one.seen and one.heard.holds(second) and one.seen.holds(second) for one in scene.actors)
    ]
    return int(rng.choice(sounding if sounding and rng.random() < SOUNDING_SHARE else range(scene.seconds)))


def moment_samples(
    scene: Scene,
    second: int,
    ids: npt.NDArray[np.uint8],
    rng: np.random.Generator,
    *,
    tasks: Sequence[str] = MOMENT_TASKS,
    expressions: int | None = 3,
) -> list[Sample]:
    """Everything that can be asked of a second: each task where it applies, and some expressions, all if None.

    `ids` (H, W) is the map of instance ids of that second's picture.
    """
    shown, dice = sights(scene, second, ids), Dice(rng)
    made = [make(shown) for task, make in MAKERS.items() if task in tasks]
    chosen = [one for one in made if one is not None]
    if "ref-avs" in tasks:
        pool = list(_expressions(shown, dice))
        chosen += [_referred(*pool[at]) for at in dice.shuffled(range(len(pool)))[:expressions]]
    return chosen


def describe_pictures(scene: Scene, ids: npt.NDArray[np.uint8]) -> dict[str, Any]:
    """One expression a second as plain JSON values, always the same for one scene, with the mask of what it means.

    `ids` is (seconds, H, W). `rle` is None for an expression that means nothing in that picture.
    """
    rng = np.random.default_rng([SPLITS[scene.split], scene.seed, scene.index, _PICTURES])
    made = []
    for second, frame in enumerate(ids):
        (sample,) = moment_samples(scene, second, frame, rng, tasks=("ref-avs",), expressions=1)
        rle = Mask.of("", 0.0, np.isin(frame, sample.figures)).to_rle() if sample.figures else None
        made.append({"second": second, "text": sample.question, "rle": rle})
    return {"expressions": made}


def _sounding(shown: Sequence[Sight]) -> list[Sight]:
    return sorted((one for one in shown if one.sounds), key=lambda one: (one.name, one.box[0]))


def _names(several: Sequence[Sight]) -> str:
    """`bell and dog`, each class once, by the alphabet."""
    return listed(sorted({one.name for one in several})) if several else NOTHING


def _arig(shown: Sequence[Sight]) -> Sample | None:
    heard = _sounding(shown)
    if len(heard) > 1:
        return None  # the published task knows one sounding object
    return _sample("arig", _names(heard), write_box(_boxes(heard)[0] if heard else None))


def _ssl(shown: Sequence[Sight]) -> Sample:
    heard = _sounding(shown)
    return _sample("ssl", _names(heard), write_boxes(_boxes(heard)))


def _s4(shown: Sequence[Sight]) -> Sample | None:
    heard = _sounding(shown)
    if len({one.name for one in heard}) != 1:
        return None
    return _sample("s4", _names(heard), write_mask(_names(heard)), heard)


def _ms3(shown: Sequence[Sight]) -> Sample:
    heard = _sounding(shown)
    return _sample("ms3", _names(heard), write_mask(_names(heard)), heard)


def _referred(kind: str, expression: str, meant: Sequence[Sight]) -> Sample:
    names = _names(meant)
    return replace(_sample("ref-avs", names, write_referred(expression, names), meant, expression), template=kind)


MAKERS: Mapping[str, Callable[[Sequence[Sight]], Sample | None]] = MappingProxyType(
    {"arig": _arig, "ssl": _ssl, "s4": _s4, "ms3": _ms3}
)


def _expressions(shown: Sequence[Sight], dice: Dice) -> Iterator[tuple[str, str, list[Sight]]]:
    """Kind, expression and the drawings that it means: by name, by what they do, by place, and one of nothing."""
    by_name = {one.name: [other for other in shown if other.name == one.name] for one in shown}
    for name, meant in by_name.items():
        yield "ref_name", f"the {name if len(meant) == 1 else CLASSES[name].plural}", meant
    absent = [name for name in CLASSES if name not in by_name]
    yield "ref_absent", f"the {dice.pick(absent)}", []
    silent = [one for one in shown if not one.sounds]
    yield "ref_silent", f"the silent object{'s' if len(silent) > 1 else ''}", silent
    heard = [one for one in shown if one.sounds]
    if heard:
        yield "ref_sounding", f"the sounding object{'s' if len(heard) > 1 else ''}", heard
    for word, sign in (("loudest", -1.0), ("softest", 1.0)):
        levels = sorted({(sign * one.actor.level_db, one.name) for one in heard})
        if len(levels) > 1 and levels[1][0] - levels[0][0] >= CLEAR_DB:
            yield f"ref_{word}", f"the object making the {word} sound", by_name[levels[0][1]]
    for column, words in PLACES.items():
        there = [one for one in shown if one.figure.column == column]
        if len(there) == 1:
            yield "ref_place", f"the object {words}", there


PLACES: Mapping[Column, str] = MappingProxyType(
    {"left": "on the left", "middle": "in the middle", "right": "on the right"}
)


def _sample(task: str, answer: str, target: str, meant: Sequence[Sight] = (), expression: str | None = None) -> Sample:
    return Sample(
        task=task,
        profile=MOMENT,
        question=expression,
        answer=answer,
        target=target,
        template=task,
        type=task,
        modality="Audio-Visual",
        figures=tuple(one.number for one in meant),
    )


def _boxes(several: Sequence[Sight]) -> list[Box]:
    return [Box(one.name, *map(float, one.box)) for one in several]


def _box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """x0 y0 x1 y1 of the true pixels in hundredths of the picture; None if too few are true."""
    if mask.mean() < MIN_BOX_SHARE:
        return None
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    corners = np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]) / mask.shape[0]
    x0, y0, x1, y1 = (round(float(one)) for one in corners * COORDINATES)
    return x0, y0, x1, y1
