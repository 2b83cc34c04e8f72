"""What the heads of a model are worth on the generated world, where truth is known.

Five questions, each with 95 % intervals by clip: which task uses which head; how routers choose, one by one; which task
loses what without each head;
whether maps fall on what sounds; and whether hiding what maps call relevant costs more than hiding as much at random.
Letters: H heads, S frames, D values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np

from crab_core.engine.heads import METHODS, inside_of
from crab_core.engine.heads_faithful import DRAWS, PARTS, first_patches, hide
from crab_core.engine.heads_maps import head_maps, with_pictures_seen
from crab_core.engine.heads_row import HeadRow, mean_shares
from crab_core.engine.heads_tokens import Token, prompt_tokens, targets, written_tokens
from crab_core.engine.session import Model
from crab_core.evaluate.bootstrap import Score
from crab_core.evaluate.heads import Profile, mean_by_task, specialisation
from crab_core.evaluate.heads_router_tables import KINDS, Heard, router_tables
from crab_core.evaluate.heads_truth import Item, items_of, pointed
from crab_core.evaluate.report import Line, Table
from crab_core.evaluate.world_runner import WorldTest
from crab_core.progress import Listener, Progress, ignore
from crab_core.registry import TASKS
from crab_core.types import Clip, Decoding

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families._base import Encoded, Generated, HeadsView, Rerouting, Routes

    Floats = npt.NDArray[np.float32]

REROUTINGS: tuple[Rerouting, ...] = ("even", "exchanged")
METHOD = "attention"
MOST_TOKENS = 256  # of an answer, if its task does not say less


def evaluate_heads(
    model: Model, test: WorldTest, checks: int = 16, on_progress: Listener = ignore
) -> tuple[Table, ...]:
    """The tables of a model on `test.clips` clips; faithfulness, which is dear, on `checks` questions only.

    Raises ModelError if the model has no heads.
    """
    run = _Run(model, inside_of(model), test, checks, on_progress)
    tables = (run.shares(), *run.routers(), run.use(), run.cost(), run.scores(), run.pointing(), run.faith())
    return tuple(table for table in tables if table.lines)


@dataclass
class _Looked:
    """One item with what the model wrote about it and how the heads shared it; maps are (H, S, rows, columns)."""

    item: Item
    encoded: Encoded
    generated: Generated
    tokens: tuple[Token, ...]
    written: tuple[Token, ...]
    routes: Routes
    maps: Mapping[str, Floats]


@dataclass
class _Run:
    model: Model
    inside: HeadsView
    test: WorldTest
    checks: int
    on_progress: Listener

    @property
    def changes(self) -> dict[str, Callable[[], AbstractContextManager[None]]]:
        """What is done to the heads, by its name."""
        inside, every = self.inside, range(self.inside.heads)
        if len(every) < 2:
            return {"no head": partial(inside.only, [])}
        kept = {f"without head {one + 1}": [head for head in every if head != one] for one in every} | {"no head": []}
        found = {name: partial(inside.only, some) for name, some in kept.items()}
        return {**found, **{f"shares {how}": partial(inside.rerouted, how) for how in REROUTINGS}}

    @cached_property
    def looked(self) -> list[_Looked]:
        found = []
        items = list(items_of(self.model, self.test))
        for number, item in enumerate(items):
            found.append(self._look(item))
            if number % 20 == 0:
                self.on_progress(Progress("heads", number, len(items), "answers"))
        return found

    def _look(self, item: Item) -> _Looked:
        inside = self.inside
        encoded = self._encode(item, item.clip)
        before = prompt_tokens(inside.spans(encoded, item.prompt), inside.prompt_pieces(item.prompt), item.question)
        kinds = [token.kind for token in before]
        generated, routes = inside.routes(encoded, item.prompt, _decoding(item.task), kinds)
        written = written_tokens(inside.pieces(generated.token_ids))
        looked = _Looked(item, encoded, generated, (*before, *written), tuple(written), routes, {})
        looked.maps = self._maps(looked, METHOD)
        return looked

    def _encode(self, item: Item, clip: Clip) -> Encoded:
        encoded = self.model.network.encode(clip, item.task)
        return encoded.at(0) if item.is_picture else encoded

    def _maps(self, looked: _Looked, method: str) -> dict[str, Floats]:
        item, inside = looked.item, self.inside
        relevance = np.ones(len(looked.tokens), np.float32)
        if method != "share" and looked.written:
            ids, chosen = looked.generated.token_ids, targets(looked.written)
            relevance = inside.relevance(looked.encoded, item.prompt, ids, chosen, method)
        gaze = inside.gaze(item.clip, item.task)
        return head_maps(with_pictures_seen(looked.tokens), looked.routes.shares, relevance, gaze)

    def shares(self) -> Table:
        """How far heads and tasks go together, by kind of token."""
        rows, lines = self._rows(), []
        for kind in KINDS:
            found = specialisation(rows, kind)
            if found is not None:
                bits = found.bits
                name = f"{kind} tokens, thousandths of a bit (of {1000 * found.most:.0f}), p {found.p:.3f}"
                mine = _score(1000 * bits.value, 1000 * bits.low, 1000 * bits.high, rows)
                dealt = _score(1000 * found.chance, 0.0, 1000 * found.chance_high, rows)
                lines.append(Line(name, mine, {"tasks dealt at random": dealt}))
        return Table("Specialisation: what a head tells about the task", tuple(lines))

    def _rows(self) -> list[HeadRow]:
        looked = [(one.item, mean_shares(one.tokens, one.routes.shares)) for one in self.looked]
        return [HeadRow(item.name, item.task, item.question, "", "", "used", shares) for item, shares in looked]

    def routers(self) -> tuple[Table, ...]:
        """How each router chooses, and what it tells about the task, beside routers at a random start."""
        heard = [
            Heard(one.item.name, one.item.task, one.routes, self._fresh(one)) for one in self.looked if one.written
        ]
        return router_tables(heard)

    def _fresh(self, one: _Looked) -> Routes:
        kinds = [token.kind for token in one.tokens[: one.generated.prompt_tokens]]
        return self.inside.fresh_routes(one.encoded, one.item.prompt, one.generated.token_ids, kinds, seed=0)

    def use(self) -> Table:
        """Each task's mean share of each head."""
        given = [(row.clip, row.task, row.shares["all"]) for row in self._rows()]
        names = [f"head {head + 1}" for head in range(self.inside.heads)]
        return _table("Mean share of each head", mean_by_task(given), names)

    def cost(self) -> Table:
        """How much less likely the true text becomes, in nats a token."""

        def likely(one: _Looked) -> float:
            ids = self.inside.ids_of(one.item.truth)
            return self.inside.log_probability(one.encoded, one.item.prompt, ids) / len(ids)

        whole, given = [likely(one) for one in self.looked], []
        columns = []
        for changed in self.changes.values():
            with changed():
                columns.append([likely(one) for one in self.looked])
            self.on_progress(Progress("cost", len(columns), len(self.changes), "ablations"))
        for number, one in enumerate(self.looked):
            given.append((one.item.name, one.item.task, [whole[number] - column[number] for column in columns]))
        return _table("Nats a token that the true text loses", mean_by_task(given), list(self.changes))

    def scores(self) -> Table:
        """The score of what is written with all heads, and what of it is lost without some."""
        whole = self._scores()
        columns = []
        for changed in self.changes.values():
            with changed():
                columns.append(self._scores())
        given = [
            (one.item.name, one.item.task, [mine, *(mine - column[number] for column in columns)])
            for number, (one, mine) in enumerate(zip(self.looked, whole, strict=True))
        ]
        names = ["score with all heads", *(f"lost {name}" for name in self.changes)]
        return _table("Score (1 is best) and what of it is lost", mean_by_task(given), names)

    def _scores(self) -> list[float]:
        found = [0.0] * len(self.looked)
        for numbers in _batches(self.looked, self.test.batch):
            some = [self.looked[number] for number in numbers]
            encoded, prompts = [one.encoded for one in some], [one.item.prompt for one in some]
            told = self.model.network.generate_batch(encoded, prompts, _decoding(some[0].item.task))
            for number, one, written in zip(numbers, some, told, strict=True):
                found[number] = one.item.score(written)
        self.on_progress(Progress("scores", len(found), len(found), "answers"))
        return found

    def pointing(self) -> Table:
        """How often the strongest cell of a map lies on the target, minus the chance of it; and on other things."""
        heads = [*(f"head {head + 1}" for head in range(self.inside.heads)), "all heads"]
        lines: list[Line] = []
        for what in ("the target", "other things"):
            given = [found for one in self.looked if (found := _pointed(one, what)) is not None]
            lines += _pointing_lines(what, mean_by_task(given), heads)
        return Table("Pointing game: the strongest cell lies on it", tuple(lines))

    def faith(self) -> Table:
        """How much more is lost when what a map calls relevant is hidden than when as much is hidden at random."""
        chosen = self._checked()
        given = []
        for number, one in enumerate(chosen):
            for medium, gains in self._gains(one).items():
                given.append((one.item.name, f"{medium} hidden", gains))
            self.on_progress(Progress("check", number + 1, len(chosen), "answers"))
        title = "Faithfulness: nats of the answer that hiding by the map costs more than by chance"
        return _table(title, mean_by_task(given), [f"relevance by {method}" for method in METHODS])

    def _checked(self) -> list[_Looked]:
        """One answer a clip about film, of its tasks in turn."""
        by_clip: dict[str, list[_Looked]] = {}
        for one in self.looked:
            if one.written and not one.item.is_picture:
                by_clip.setdefault(one.item.name, []).append(one)
        return [some[number % len(some)] for number, some in enumerate(by_clip.values())][: self.checks]

    def _gains(self, one: _Looked) -> dict[str, list[float]]:
        maps = {method: self._maps(one, method) for method in METHODS}
        found = {}
        for medium in maps[METHOD]:
            cells = {method: _flat(some[medium], medium) for method, some in maps.items()}
            shape, random = cells[METHOD].shape, np.random.default_rng(0)
            dealt = [random.permutation(cells[METHOD].size) for _ in range(DRAWS)]
            chance = float(np.mean([self._curve(one, medium, order, shape) for order in dealt]))
            orders = [np.argsort(-some, axis=None, kind="stable") for some in cells.values()]
            found[medium] = [chance - self._curve(one, medium, order, shape) for order in orders]
        return found

    def _curve(self, one: _Looked, medium: str, order: npt.NDArray[np.int64], shape: tuple[int, ...]) -> float:
        """The mean log-probability of the model's own text over the hidden parts."""
        found = []
        for part in PARTS:
            clip = hide(one.item.clip, medium, first_patches(order, part, shape))
            encoded = self._encode(one.item, clip)
            found.append(self.inside.log_probability(encoded, one.item.prompt, one.generated.token_ids))
        return float(np.mean(found))


def _decoding(task: str) -> Decoding:
    return Decoding(max_new_tokens=min(MOST_TOKENS, TASKS[task].load().max_new_tokens))


def _pointed(one: _Looked, what: str) -> tuple[str, str, list[float]] | None:
    """Clip, task, and hits a head and of all, their chance, and the differences; None where there is no target."""
    if "video" not in one.maps:
        return None
    every = np.concatenate([one.maps["video"], one.maps["video"].sum(0, keepdims=True)])
    places = one.item.meant if what == "the target" else one.item.others
    found = pointed(every, places.cells(*every.shape[2:]))
    if found is None:
        return None
    hits, chance = found
    return one.item.name, one.item.task, [*hits, chance, *(hit - chance for hit in hits)]


def _flat(maps: Floats, medium: str) -> Floats:
    """All heads together; of a sound all bands of a moment, as they are hidden together."""
    whole: Floats = maps.sum(0)
    return whole if medium == "video" else np.asarray(whole.sum(1, keepdims=True))


def _batches(looked: Sequence[_Looked], size: int) -> Iterator[list[int]]:
    """Numbers of items of one task at a time."""
    for task in dict.fromkeys(one.item.task for one in looked):
        numbers = [number for number, one in enumerate(looked) if one.item.task == task]
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))


def _score(value: float, low: float, high: float, rows: Sequence[HeadRow]) -> Score:
    return Score(value, low, high, len(rows), len({row.clip for row in rows}))


def _line(name: str, one: Profile, column: int, baselines: Mapping[str, int] | None = None) -> Line:
    def score(place: int) -> Score:
        bar = one.heads[place]
        return Score(bar.value, bar.low, bar.high, one.rows, one.clips)

    return Line(name, score(column), {key: score(place) for key, place in (baselines or {}).items()})


def _table(title: str, found: Sequence[Profile], names: Sequence[str]) -> Table:
    lines = [_line(f"{one.task}, {name}", one, place) for one in found for place, name in enumerate(names)]
    return Table(title, tuple(lines))


def _pointing_lines(what: str, found: Sequence[Profile], heads: Sequence[str]) -> list[Line]:
    """Hits beside the chance, then the difference with its own interval."""
    lines, count = [], len(heads)
    for one in found:
        for place, head in enumerate(heads):
            lines.append(_line(f"{one.task}, {what}, {head}", one, place, {"chance": count}))
            lines.append(_line(f"{one.task}, {what}, {head}, above chance", one, count + 1 + place))
    return lines
