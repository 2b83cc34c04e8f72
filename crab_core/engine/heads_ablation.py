"""Answering again while heads are silent or the shares are not the routers': what a head was worth for one answer."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crab_core.engine.heads_report import Ablation
from crab_core.engine.masks import drawn_of, overlap_of
from crab_core.engine.merging import united
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import UsageError
from crab_core.progress import Listener, Progress
from crab_core.types import Canvas

if TYPE_CHECKING:
    from crab_core.engine.heads import Asked, HeadOptions
    from crab_core.families._base import Generated, HeadsView

ASKED = "asked: "  # begins the names of the rows that somebody asked for


@dataclass(frozen=True)
class _Plan:
    """One answer to be: its name, the heads that take part, and the block within which that is so."""

    name: str
    kept: tuple[int, ...]
    changed: AbstractContextManager[None]
    is_asked: bool = False


def check_heads(options: HeadOptions, heads: int) -> None:
    """Raise UsageError if `options` name a head that a model with so many does not have."""
    for name in ("drop_heads", "only_heads"):
        for head in getattr(options, name):
            if not 0 <= head < heads:
                raise UsageError(f"{name} has '{head}', and the model's heads are 0 to {heads - 1}")


def ablations_of(
    asked: Asked, generated: Generated, options: HeadOptions, on_progress: Listener
) -> tuple[Ablation, ...]:
    """The answer with all heads, and then with those changes that the options ask for; none if they ask for none.

    The first is `generated` itself and is not written again.
    """
    inside = asked.inside
    plans = _usual(inside) if options.ablate else []
    chosen = _chosen(inside, options)
    if chosen and not plans:
        plans = [_whole(inside)]
    plans += chosen
    found: list[Ablation] = []
    for done, plan in enumerate(plans, start=1):
        with plan.changed:
            written = _write(asked) if found else generated
            chance = inside.log_probability(asked.encoded, asked.prompt, generated.token_ids)
        found.append(_ablation(asked, plan, generated, written, chance))
        on_progress(Progress("ablate", done, len(plans), "answers", plan.name))
    return tuple(found)


def _usual(inside: HeadsView) -> list[_Plan]:
    """All heads, without each, each alone, shares that no router chose, and none."""
    everyone, plans = tuple(range(inside.heads)), [_whole(inside)]
    if len(everyone) > 1:
        for head in everyone:
            kept = tuple(other for other in everyone if other != head)
            plans.append(_Plan(f"without {_named([head])}", kept, inside.only(kept)))
    plans += [_Plan(f"only {_named([head])}", (head,), inside.only([head])) for head in everyone if len(everyone) > 2]
    if len(everyone) > 1:
        plans.append(_Plan("shares all even", everyone, inside.rerouted("even")))
        plans.append(_Plan("shares exchanged", everyone, inside.rerouted("exchanged")))
    return [*plans, _Plan("no head", (), inside.only([]))]


def _chosen(inside: HeadsView, options: HeadOptions) -> list[_Plan]:
    """At most two: without the heads that are to be dropped, and with those alone that are to stay."""
    gone, stays = sorted(set(options.drop_heads)), sorted(set(options.only_heads))
    plans = []
    if gone:
        kept = tuple(head for head in range(inside.heads) if head not in gone)
        plans.append(_Plan(f"{ASKED}without {_named(gone)}", kept, inside.only(kept), is_asked=True))
    if stays:
        plans.append(_Plan(f"{ASKED}only {_named(stays)}", tuple(stays), inside.only(stays), is_asked=True))
    return plans


def _whole(inside: HeadsView) -> _Plan:
    everyone = tuple(range(inside.heads))
    return _Plan("all heads", everyone, inside.only(everyone))


def _named(heads: Sequence[int]) -> str:
    """`head 2`, or `heads 1, 2`: counted from 1, as people see them."""
    return f"head{'s' if len(heads) > 1 else ''} {', '.join(str(head + 1) for head in heads)}"


def _write(asked: Asked) -> Generated:
    return asked.seen.model.network.generate(asked.encoded, asked.prompt, asked.decoding)


def _ablation(asked: Asked, plan: _Plan, whole: Generated, written: Generated, chance: float) -> Ablation:
    reading = asked.task.read(written.text, _canvas(asked))
    return Ablation(
        name=plan.name,
        heads=plan.kept,
        answer=reading.answer.text if reading.answer is not None else "",
        raw_text=written.text,
        log_probability=chance,
        mask_iou=overlap_of(drawn_of(whole), drawn_of(written)),
        events=united(reading.events),
        is_asked=plan.is_asked,
    )


def _canvas(asked: Asked) -> Canvas:
    """That of the answer itself: in a clip longer than the trained ones a second of the model is several."""
    if asked.task.moment is not None:
        return Canvas(asked.clip.duration_s)
    from crab_core.engine.session import canvas_of

    return canvas_of(*asked.seen.decode(asked.task, Stopwatch()))
