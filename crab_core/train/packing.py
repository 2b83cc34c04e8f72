"""Several texts about one clip in one row: they share the media prefix and cannot see one another.

A packed row computes what separate rows would, so that a further question costs only its own tokens (tested against
separate rows). Letters: B rows, L positions of a row, K texts of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from crab_core.train.lookups import Facts

IGNORED = -100
VIDEO, AUDIO, PADDING = -1, -2, 0  # stand-ins for rows of features in the ids, and the id of padding


@dataclass(frozen=True, slots=True)
class Text:
    """One prompt and its target as token ids; the prompt starts behind the shared prefix.

    `answer` is the stretch [start, end) of the target that holds the short answer, empty if it has none, and `values`
    are the places in the target of other tokens that weigh as much. `figures` are the instance ids of the drawings
    whose mask it tells, `masks` where its mask tokens stand in the target. `ahead` is how many positions it leaves free
    behind the prefix.
    """

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    answer: tuple[int, int] = (0, 0)
    figures: tuple[int, ...] = ()
    masks: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    ahead: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """The shared prefix (ids, with VIDEO and AUDIO where features go) and the texts that follow it.

    `sees` and `hears` are False for a clip whose pictures or sound are withheld: its prefix has no places for them.
    `second` is the only one that is shown and heard, as a still picture and its sound; None for the whole clip. `facts`
    are what is true of the classes that its texts name, None if that is not taught.
    """

    prefix: tuple[int, ...]
    texts: tuple[Text, ...]
    sees: bool = True
    hears: bool = True
    second: int | None = None
    facts: Facts | None = None


@dataclass(frozen=True)
class Packed:
    """A batch: ids, positions, labels (B, L), attention (B, 1, L, L) bool, (B, L) bool of features and answers."""

    ids: torch.Tensor
    positions: torch.Tensor
    labels: torch.Tensor
    attention: torch.Tensor
    video: torch.Tensor
    audio: torch.Tensor
    answers: torch.Tensor

    def to_dict(self) -> dict[str, torch.Tensor]:
        """The tensors by name."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def pack(rows: Sequence[Row]) -> Packed:
    """The rows as one right-padded batch; each text attends to the prefix and to itself, causally."""
    lengths = [len(row.prefix) + sum(len(text.prompt) + len(text.target) for text in row.texts) for row in rows]
    shape = (len(rows), max(lengths))
    ids, positions = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels, groups = torch.full(shape, IGNORED), torch.full(shape, -1)  # group 0 is the prefix, -1 is padding
    answers = torch.zeros(shape, dtype=torch.bool)
    for at, row in enumerate(rows):
        filled: tuple[Sequence[int], ...] = _fill(row)
        for tensor, values in zip((ids, positions, labels, groups, answers), filled, strict=True):
            tensor[at, : len(values)] = torch.tensor(values)
    video, audio = ids == VIDEO, ids == AUDIO
    return Packed(ids.clamp_min(PADDING), positions, labels, _attention(groups), video, audio, answers)


def mask_positions(row: Row) -> list[tuple[Text, list[int]]]:
    """The texts of a row that tell a mask, and the positions whose states predict their mask tokens."""
    found, start = [], len(row.prefix)
    for text in row.texts:
        if text.masks:
            found.append((text, [start + len(text.prompt) + at - 1 for at in text.masks]))
        start += len(text.prompt) + len(text.target)
    return found


def _fill(row: Row) -> tuple[list[int], list[int], list[int], list[int], list[bool]]:
    start = len(row.prefix)
    ids, positions = list(row.prefix), list(range(start))
    labels, groups, answers = [IGNORED] * start, [0] * start, [False] * start
    for number, text in enumerate(row.texts, start=1):
        length = len(text.prompt) + len(text.target)
        ids += [*text.prompt, *text.target]
        positions += range(start + text.ahead, start + text.ahead + length)
        labels += [*[IGNORED] * len(text.prompt), *text.target]
        groups += [number] * length
        answers += [False] * len(text.prompt) + [
            text.answer[0] <= at < text.answer[1] or at in text.values for at in range(len(text.target))
        ]
    return ids, positions, labels, groups, answers


def _attention(groups: torch.Tensor) -> torch.Tensor:
    length = groups.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    of_prefix = (groups == 0)[:, None, :]  # (B, 1, L) keys that all see
    same = groups[:, :, None] == groups[:, None, :]  # (B, L, L)
    return ((of_prefix | same) & causal)[:, None]  # (B, 1, L, L)
