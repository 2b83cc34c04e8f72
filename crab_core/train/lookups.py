"""Looking things up by name: at each name of a class the LLM's state must hold when, where and how loud that thing is.

Deep supervision of the small LLM of the generated world. Text alone teaches this slowly, since of a sentence only one
word depends on it. Here every name in a prompt or a target, and some names on their own behind the media, are asked for
all that is true of their class, so that attention learns to find the rows of what is named. What stands at a name must
then be read by what tells it: where a value comes next, a state further up must hold the facts of the last name before
it (`recalled`). The heads are dropped with the stage. Letters: B rows, L positions, C classes, F facts, W width of the
LLM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from crab_core.train.pool import SECONDS
from crab_core.train.shares import Totals, mean
from crab_core.train.targets import LEVEL_UNIT_DB, THINGS
from crab_core.world.classes import SILENT, SOUNDING
from crab_core.world.labels import SceneLabels
from crab_core.world.moments import COORDINATES, Sight
from crab_core.world.narration import LEVELS as WORDS_OF_LEVELS
from crab_core.world.spec import COLUMNS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from crab_core.train.packing import Packed

PLACES = (*COLUMNS, "several")
LEVELS = tuple(WORDS_OF_LEVELS)
MOST = 3  # of one class in a picture; more count as so many
# each fact and how many values it has beside "not at all", which is the last one
CHOICES: Mapping[str, int] = {
    "first_seen": SECONDS,
    "last_seen": SECONDS,
    "place": len(PLACES),
    "count": MOST,
    "first_heard": SECONDS,
    "last_heard": SECONDS,
    "level": len(LEVELS),
}
SIGHT, HEARING = slice(0, 4), slice(4, 7)  # which of the choices are of each sense; their first tells if it is there
MEASURES = ("level", "x0", "y0", "x1", "y1")  # units of 10 dB, and shares of the picture
MEASURE_WEIGHT = 10.0
FIT_STEPS, FIT_BATCH, FIT_RATE = 300, 256, 0.01  # of a head that begins
REACH = 6  # positions behind a name within which a value is told of it


class Facts:
    """What is true of each class in a row: choices (C, 7), and measures (C, 5), nan if not told."""

    __slots__ = ("choices", "measures")

    def __init__(self) -> None:
        absent = np.array(list(CHOICES.values()), np.int64)
        self.choices: npt.NDArray[np.int64] = np.tile(absent, (len(THINGS), 1))
        self.measures: npt.NDArray[np.float32] = np.full((len(THINGS), len(MEASURES)), np.nan, np.float32)

    def present(self) -> list[str]:
        """The names of what is seen or heard."""
        there = (self.choices[:, [SIGHT.start, HEARING.start]] < SECONDS).any(1)
        return [THINGS[at] for at in np.flatnonzero(there)]

    def see(self, name: str, first_s: int, last_s: int, place: str, count: int) -> None:
        """Something is in the picture from the start of one second to the end of another."""
        self.choices[THINGS.index(name), SIGHT] = first_s, last_s, PLACES.index(place), min(count, MOST) - 1

    def hear(self, name: str, first_s: int, last_s: int, level: str, level_db: float) -> None:
        """Something sounds from the start of one second to the end of another."""
        at = THINGS.index(name)
        self.choices[at, HEARING] = first_s, last_s, LEVELS.index(level)
        self.measures[at, 0] = level_db / LEVEL_UNIT_DB


def facts_of_clip(labels: SceneLabels) -> Facts:
    """The facts of a whole clip; boxes are not told."""
    facts = Facts()
    for seen in labels.seen:
        facts.see(seen.name, seen.start_s, seen.end_s - 1, seen.place, seen.count)
    for heard in labels.heard:
        facts.hear(heard.name, heard.start_s, heard.end_s - 1, heard.level, heard.level_db)
    return facts


def facts_of_second(labels: SceneLabels, second: int, shown: Sequence[Sight]) -> Facts:
    """The facts of one second as a clip of its own; a box is told of what is there once."""
    facts = Facts()
    for name in {one.name for one in shown}:
        alike = [one for one in shown if one.name == name]
        columns = {one.figure.column for one in alike}
        facts.see(name, 0, 0, columns.pop() if len(columns) == 1 else "several", len(alike))
        if len(alike) == 1:
            facts.measures[THINGS.index(name), 1:] = np.array(alike[0].box) / COORDINATES
    for heard in labels.heard:
        if heard.start_s <= second < heard.end_s:
            facts.hear(heard.name, 0, 0, heard.level, heard.level_db)
    return facts


def names_as_tokens(tokenizer: PreTrainedTokenizerFast) -> Mapping[int, int]:
    """Token id -> number of the class that it names: `dog`, ` dog`, ` dogs`. Names of several tokens are left out."""
    plurals = {one.name: one.plural for one in (*SOUNDING, *SILENT)}
    found: dict[int, int] = {}
    for number, name in enumerate(THINGS):
        for word in (name, plurals[name]):
            for blank in (" ", ""):
                ids = tokenizer.encode(blank + word, add_special_tokens=False)
                if len(ids) == 1:
                    found[ids[0]] = number
    return found


def recalled(named: torch.Tensor, packed: Packed) -> torch.Tensor:
    """(B, L) classes named at each position, -1 for none -> (B, L) of which class the next token tells a value.

    That is the last one named in the same text, at most `REACH` positions before; -1 where no value is told next.
    """
    places = torch.arange(named.shape[1]).expand_as(named)
    last = torch.where(named >= 0, places, -1).cummax(1).values  # (B, L) where the last name stands
    at = last.clamp_min(0)
    same = packed.attention[:, 0].gather(2, at[..., None])[..., 0]  # (B, L) whether it is seen from here
    near = (last >= 0) & (places - last <= REACH) & same
    next_tells = F.pad(packed.answers[:, 1:], (0, 1))
    return torch.where(near & next_tells, named.gather(1, at), -1)


def named_by_token(tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """(V,) the number of the class that each token id names, -1 for none."""
    names = names_as_tokens(tokenizer)
    return torch.tensor([names.get(token, -1) for token in range(len(tokenizer))])


class Lookups(nn.Module):
    """Reads the facts of a name off the state at its last token: one linear map of all, behind a norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.sizes = [count + 1 for count in CHOICES.values()]
        self.head = nn.Linear(width, sum(self.sizes) + len(MEASURES))

    def counts(self, names: torch.Tensor, choices: torch.Tensor, measures: torch.Tensor) -> Totals:
        """What a batch's sums are divided by: names, and measures that are told of them; shapes as for `forward`."""
        _, _, measured = _gathered(names, choices, measures)
        return {"names": int((names >= 0).sum()), "measures": int((~measured.isnan()).sum())}

    def forward(
        self, states: torch.Tensor, names: torch.Tensor, choices: torch.Tensor, measures: torch.Tensor, totals: Totals
    ) -> Mapping[str, torch.Tensor]:
        """The loss for states (B, L, W) and classes named there (B, L), -1 for none, with each row's facts: choices
        (B, C, 7) and measures (B, C, 5). `totals` are the `counts` of the whole step.
        """
        named, chosen, measured = _gathered(names, choices, measures)
        return self._told(states[named], chosen, measured, totals)

    def _told(
        self, states: torch.Tensor, chosen: torch.Tensor, measured: torch.Tensor, totals: Totals
    ) -> Mapping[str, torch.Tensor]:
        """The loss for states (N, W) at names, with the facts of each: choices (N, 7) and measures (N, 5)."""
        told = self.head(self.norm(states))  # (N, sum of sizes + 5)
        *logits, off = told.split([*self.sizes, len(MEASURES)], -1)
        losses = [F.cross_entropy(one, chosen[:, at], reduction="sum") for at, one in enumerate(logits)]
        right = torch.stack([one.argmax(-1) == chosen[:, at] for at, one in enumerate(logits)], -1)
        known = ~measured.isnan()
        away = F.smooth_l1_loss(off[known], measured[known], reduction="none", beta=0.1)
        loss = torch.stack(losses).sum() / max(totals["names"], 1e-9)
        loss = loss + MEASURE_WEIGHT * mean(away, totals["measures"])
        return {"lookup_loss": loss, "facts_right": mean(right.float().mean(-1), totals["names"]).detach()}

    @torch.enable_grad()
    def fit(self, seen: Sequence[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]) -> None:
        """Begins as what reads the facts best off states as they are: (B, L, W) each with what `forward` takes.

        A head that begins at random pushes the states towards what it happens to read, until it has learnt.
        """
        parts = []
        for states, told in seen:
            named, chosen, measured = _gathered(**told)
            parts.append((states[named].detach(), chosen, measured))
        whole = [torch.cat(kind) for kind in zip(*parts, strict=True)]
        if not len(whole[0]):
            return
        for one in self.head.parameters():
            nn.init.zeros_(one)
        order = torch.Generator().manual_seed(len(whole[0]))
        optimizer = torch.optim.AdamW(self.head.parameters(), lr=FIT_RATE, weight_decay=0.0)
        for step in range(FIT_STEPS):
            at = torch.randint(len(whole[0]), (FIT_BATCH,), generator=order).to(whole[0].device)
            states, chosen, measured = (kind[at] for kind in whole)
            totals = {"names": FIT_BATCH, "measures": int((~measured.isnan()).sum())}
            for group in optimizer.param_groups:
                group["lr"] = FIT_RATE * (1 - step / FIT_STEPS)
            optimizer.zero_grad()
            self._told(states, chosen, measured, totals)["lookup_loss"].backward()
            optimizer.step()
        optimizer.zero_grad()


def _gathered(
    names: torch.Tensor, choices: torch.Tensor, measures: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Where names are (B, L) bool, and the facts of each of them: (N, 7) and (N, 5)."""
    named = names >= 0
    row = torch.arange(len(names), device=names.device)[:, None].expand_as(names)[named]
    return named, choices[row, names[named]], measures[row, names[named]]
