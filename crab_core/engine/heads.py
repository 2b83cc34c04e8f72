"""Looking at what each LoRA head did for one answer: capture, maps, ablation, as one `HeadReport`.

The answer is the one that `ask` gives, bit for bit: hooks read the routers while it is written. Everything else is
computed afterwards from the written tokens. Memory: a row a position and a few rows a router; with `raw` one number a
router, position and head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from crab_core.engine.heads_ablation import ablations_of, check_heads
from crab_core.engine.heads_faithful import Faithfulness, faithfulness
from crab_core.engine.heads_maps import MEDIA, by_kind, by_place, by_second, head_maps, with_pictures_seen
from crab_core.engine.heads_report import HeadReport, alike_of
from crab_core.engine.heads_routing import routing_of
from crab_core.engine.heads_tokens import Token, prompt_tokens, targets, written_tokens
from crab_core.engine.memory import memory_told
from crab_core.engine.moments import answer_at_moments, look_at, moments_of
from crab_core.engine.stopwatch import Stopwatch
from crab_core.errors import ModelError, UsageError
from crab_core.families._base import HeadsNetwork
from crab_core.progress import Listener, Progress, ignore
from crab_core.tasks.pictures import at_second
from crab_core.types import Clip, Decoding, Prompt, Request, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.engine.session import Model, Seen
    from crab_core.families._base import Encoded, Generated, HeadsView, Routes
    from crab_core.tasks._base import Task

Method = Literal["attention", "gradient", "share"]
METHODS: dict[str, str] = {
    "attention": "the attention that writing the answer and its reasons paid to each token",
    "gradient": "the gradient of their log-probability times the token itself",
    "share": "nothing: every token counts alike",
}
SHOWN_PX = 320  # the longer side of the frames in a report


@dataclass(frozen=True, slots=True)
class HeadOptions:
    """What to find out: how tokens are weighed in the maps, whether heads are silenced in turn, whether raw routing
    weights are kept, whether the maps are checked by hiding what they call relevant.

    `drop_heads` are silenced together in one further ablation, `only_heads` alone take part in another; both count
    heads from 0, do so without `ablate` too, and ask for nothing where they are empty.
    """

    method: str = "attention"
    ablate: bool = True
    raw: bool = False
    check: bool = False
    drop_heads: tuple[int, ...] = ()
    only_heads: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"no method is called '{self.method}'", hint=f"Choose one of: {', '.join(METHODS)}.")


@dataclass(frozen=True)
class Asked:
    """One question about one clip, on its way."""

    seen: Seen
    request: Request
    inside: HeadsView
    task: Task
    prompt: Prompt
    clip: Clip
    encoded: Encoded
    decoding: Decoding


@dataclass(frozen=True)
class Captured:
    """The answer, and what the routers said while it was written.

    `tokens` are those of the prompt and then of the text; `shares` (T, H) is each read position's mean over routers,
    and the last written token was read by nobody.
    """

    asked: Asked
    generated: Generated
    routes: Routes
    result: Result
    tokens: tuple[Token, ...]
    written: tuple[Token, ...]
    shares: npt.NDArray[np.float32]


def inside_of(model: Model) -> HeadsView:
    """The heads of a model; raises ModelError if it has none."""
    if isinstance(model.network, HeadsNetwork):
        return model.network.inside()
    raise ModelError(
        f"the heads of model '{model.name}' cannot be looked at: its family '{model.header.family}' shows none",
        hint="Choose a model with I-LoRA heads: crab models list",
    )


def look_at_heads(
    seen: Seen,
    request: Request,
    options: HeadOptions | None = None,
    decoding: Decoding | None = None,
    on_progress: Listener = ignore,
) -> HeadReport:
    """The report about the answer to a request.

    Raises ModelError if the model has no heads, UsageError for a head that it has not, and what `Seen.answer` raises.
    """
    options, watch = options or HeadOptions(), Stopwatch()
    check_heads(options, inside_of(seen.model).heads)
    on_progress(Progress("answer", 0, 1, "answers", seen.request.clip.name))
    found = capture_heads(seen, request, decoding, watch, raw=options.raw)
    asked, generated, routes, shares = found.asked, found.generated, found.routes, found.shares
    inside, clip, task, tokens, written = asked.inside, asked.clip, asked.task, found.tokens, found.written
    placed = with_pictures_seen(tokens)
    with memory_told(f"looking at the heads for '{clip.path}'"):
        with watch("maps"):
            relevance = _relevance(asked, generated, tokens, written, options.method)
            maps = head_maps(placed, shares, relevance, inside.gaze(clip, task.name))
        with watch("ablation"):
            ablations = ablations_of(asked, generated, options, on_progress)
        with watch("check"):
            checks = _checked(asked, clip, generated, maps) if options.check else ()
        looks = maps["video"].shape[1] if "video" in maps else len(clip.frames)
        stride = max(1, len(clip.frames) // max(1, looks))  # a look of several frames is shown by its first
        layers, projections, table = by_place(routes.routers, routes.mean(routes.by_kind))
    return HeadReport(
        alike=alike_of(inside) if inside.heads > 1 else None,
        result=found.result,
        heads=inside.heads,
        method=options.method,
        tokens=tokens,
        shares=shares,
        layers=tuple(layers),
        projections=tuple(projections),
        by_router=table,
        by_kind=by_kind(tokens, shares),
        by_second={medium: by_second(placed, shares, medium) for medium in MEDIA if _has(placed, medium)},
        relevance=relevance,
        maps=maps,
        frame_times_s=np.asarray(clip.frame_times_s[::stride][:looks], np.float32),
        frames=_shown_frames(seen, clip)[::stride][:looks],
        sound_windows_s=_windows(clip, maps) if _has(tokens, "audio") else (),
        waveform=clip.waveform,
        ablations=tuple(ablations),
        checks=checks,
        notes=_notes(inside.heads, placed, generated, options.method),
        routers=routes.routers,
        raw=routes.weights,
        routing=routing_of(routes),
        extras=dict(watch.spent_s),
    )


def capture_heads(
    seen: Seen,
    request: Request,
    decoding: Decoding | None = None,
    watch: Stopwatch | None = None,
    *,
    raw: bool = False,
) -> Captured:
    """The answer that `ask` gives, bit for bit, and the routing weights behind it; nothing else is computed.

    `watch`, if given, tells which stage failed. Raises ModelError if the model has no heads, and what `Seen.answer`
    raises.
    """
    watch, inside = watch or Stopwatch(), inside_of(seen.model)
    task, prompt = seen.prompt(request, watch)
    if task.compares:
        raise UsageError(f"the heads of task '{task.name}' cannot be looked at: it shows several clips at once")
    decoding = decoding or Decoding(max_new_tokens=task.max_new_tokens)
    if task.moment is not None:  # of several pictures, the first one's answer is looked into
        request = replace(request, at_s=moments_of(request, seen.probe(task, watch).duration_s)[:1])
    prompt, clip, encoded = _shown(seen, request, task, prompt, watch)
    asked = Asked(seen, request, inside, task, prompt, clip, encoded, decoding)
    with watch("generate"), memory_told(f"looking at the heads for '{clip.path}'"):
        before = prompt_tokens(inside.spans(encoded, prompt), inside.prompt_pieces(prompt), request.question)
        generated, routes = inside.routes(encoded, prompt, decoding, [token.kind for token in before], raw=raw)
    if task.moment is None:
        result = seen.read(request, task, generated, decoding, watch)
    else:
        result = answer_at_moments(seen, request, task, decoding, None, watch, own_masks=True)  # with its boxes
    written = written_tokens(inside.pieces(generated.token_ids))
    return Captured(asked, generated, routes, result, (*before, *written), tuple(written), routes.shares)


def _shown(seen: Seen, request: Request, task: Task, prompt: Prompt, watch: Stopwatch) -> tuple[Prompt, Clip, Encoded]:
    """What the network is told, and what it sees and hears meanwhile, as `ask` has it."""
    if task.moment is None:
        _, clip, encoded = seen.encode(task, watch)
        return prompt, clip, encoded
    model, (at_s,) = seen.model, request.at_s
    duration_s = seen.probe(task, watch).duration_s
    look = look_at(model.network, task, prompt, model.header.profile, duration_s, at_s)
    clip, encoded = seen.encode_view(task, look.view, watch)
    return at_second(prompt, look.picture + 1), clip, encoded.at(look.picture)


def _relevance(
    asked: Asked, generated: Generated, tokens: Sequence[Token], written: Sequence[Token], method: str
) -> npt.NDArray[np.float32]:
    """(T,) over prompt and written tokens, sum 1; zero everywhere if nothing was written."""
    found = np.ones(len(tokens), np.float32)
    if method != "share":
        if not written:
            return np.zeros(len(tokens), np.float32)
        found = asked.inside.relevance(asked.encoded, asked.prompt, generated.token_ids, targets(written), method)
    total = float(found.sum(dtype=np.float64))
    return (found / total).astype(np.float32) if total > 0 else found


def _checked(
    asked: Asked, clip: Clip, generated: Generated, maps: dict[str, npt.NDArray[np.float32]]
) -> tuple[Faithfulness, ...]:
    def score(changed: Clip) -> float:
        encoded = asked.seen.model.network.encode(changed, asked.task.name)
        return asked.inside.log_probability(encoded, asked.prompt, generated.token_ids)

    return faithfulness(clip, maps, score, asked.decoding.seed)


def _windows(clip: Clip, maps: dict[str, npt.NDArray[np.float32]]) -> tuple[tuple[float, float], ...]:
    """What each look of the sound is of; a network that counts its sound otherwise shares all of it out evenly."""
    windows = clip.sound_windows_s
    count = maps["audio"].shape[1] if "audio" in maps else len(windows)
    if not windows or count == len(windows):
        return windows
    start, width = windows[0][0], (windows[-1][1] - windows[0][0]) / count
    return tuple((start + place * width, start + (place + 1) * width) for place in range(count))


def _has(tokens: Sequence[Token], medium: str) -> bool:
    return any(token.kind == medium for token in tokens)


def _shown_frames(seen: Seen, clip: Clip) -> npt.NDArray[np.uint8]:
    """The frames that the model saw, in their own aspect ratio and sharp enough to look at: (S, h, w, 3)."""
    if not clip.has_frames:
        return clip.frames
    from crab_core.media import load_clip
    from crab_core.types import View

    scale = min(1.0, SHOWN_PX / max(clip.size))
    size = (max(2, round(clip.size[0] * scale)), max(2, round(clip.size[1] * scale)))
    view = View(tuple(float(time) for time in clip.frame_times_s), ())
    return load_clip(seen.request.clip, view, frame_size=size).frames


def _notes(heads: int, tokens: Sequence[Token], generated: Generated, method: str) -> tuple[str, ...]:
    notes = []
    if heads == 1:
        notes.append("the model has one head: its share is 1 everywhere")
    for medium, lacking in (("video", "the clip has no picture: no pixel maps"), ("audio", "no sound: no sound maps")):
        if not _has(tokens, medium):
            notes.append(lacking)
    if not generated.token_ids and method != "share":
        notes.append("the model wrote nothing: there is no relevance and all maps are empty")
    return tuple(notes)
