"""`crab report`: one page about a folder of results, made without a model and without torch.

Pictures come from the clips, if they lie where the run found them; a folder with one report about heads, or with one
survey of heads, and nothing else, gets that page anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crab_core.batch.gather import Gathered, HeadsFound, clip_of, problems
from crab_core.errors import CrabError, InputError
from crab_core.progress import Listener, Progress, ignore
from crab_core.render.heads_page import heads_page, heads_short
from crab_core.render.heads_survey_page import survey_page, survey_short
from crab_core.render.results_page import Facts, Shown, results_page
from crab_core.types import Result, View

if TYPE_CHECKING:
    import numpy.typing as npt

    Pictures = list[tuple[float, npt.NDArray[np.uint8]]]

SCHEMA = "crab.report/1"
MOST_PICTURES, PLAIN_PICTURES = 6, 4
_THUMB_PX, _SHORT_PX = 240, 130


def report_page(found: Gathered, on_progress: Listener = ignore) -> str:
    """The page about what was gathered; what turns out to be damaged is added to `found.broken`.

    Raises InputError if the only thing there is, a report about heads, is damaged.
    """
    if not (found.total or found.failed) and len(found.heads) + len(found.surveys) == 1:
        return _only(found)
    more = [part for survey in found.surveys for part in _survey(found, survey)]
    more += [part for heads in found.heads for part in _heads(found, heads)]
    shown = []
    for done, result in enumerate(found.results, start=1):
        shown.append(Shown(result, pictures_of(found, result)))
        on_progress(Progress("report", done, len(found.results), "results", result.id))
    return results_page(facts_of(found), shown, more)


def facts_of(found: Gathered) -> Facts:
    """The whole in numbers."""
    return Facts(
        source=str(found.source.resolve().name or found.source),
        total=found.total,
        failed=found.failed,
        tasks=found.tasks,
        models=found.models,
        audio=found.audio,
        labels=found.labels,
        notes=found.notes,
        doubtful=found.doubtful,
        runs=[told for run in found.runs if (told := _run(run))],
        failures=found.failures,
        problems=list(problems(found)),
    )


def document_of(found: Gathered) -> dict[str, Any]:
    """The same numbers as plain JSON values."""
    facts = facts_of(found)
    counters = ("tasks", "models", "audio", "labels")
    return {
        "schema": SCHEMA,
        "source": str(found.source),
        "answers": facts.total,
        "failed": facts.failed,
        **{name: dict(getattr(facts, name)) for name in counters},
        "contradicting": facts.doubtful,
        "heads": [str(one.folder.relative_to(found.source)) for one in found.heads],
        "surveys": len(found.surveys),
        "problems": list(facts.problems),
    }


def pictures_of(found: Gathered, result: Result) -> Pictures:
    """Small pictures of a result with their times: its marks on the clip's frames, or on gray without the clip."""
    clip = clip_of(found, result)
    times = moments_of(result)
    frames = _frames(clip, times) if clip is not None else []
    if not frames:  # masks know the size of the frame, boxes do not
        sizes = {mask.time_s: mask.size for mask in result.masks}
        frames = [(at_s, np.full((*sizes[at_s][::-1], 3), 128, np.uint8)) for at_s in times if at_s in sizes]
    return _marked(result, frames) if frames else []


def moments_of(result: Result) -> list[float]:
    """The times of the marks, at most six of them evenly taken; else four spread over the clip."""
    marked = sorted({mask.time_s for mask in result.masks} | {box.time_s for box in result.boxes})
    if not marked:
        return [result.duration_s * (place + 0.5) / PLAIN_PICTURES for place in range(PLAIN_PICTURES)]
    places = np.linspace(0, len(marked) - 1, min(MOST_PICTURES, len(marked))).round().astype(int)
    return [marked[place] for place in places]


def _frames(clip: Path, times: Sequence[float]) -> Pictures:
    """The clip's frames at these times; none if it has no picture or cannot be read."""
    from crab_core.media import load_clip

    try:
        seen = load_clip(clip, View(tuple(times), ()))
    except CrabError:
        return []
    return [(float(at_s), frame) for at_s, frame in zip(seen.frame_times_s, seen.frames, strict=True)]


def _marked(result: Result, frames: Pictures) -> Pictures:
    from crab_core.render.canvas import Canvas
    from crab_core.render.scenes import Scene

    height, width = frames[0][1].shape[:2]
    canvas = Canvas.of((width, height), _THUMB_PX, _SHORT_PX, 0)
    scene = Scene.of(result, (width, height))
    marked = set(scene.times_s)
    return [(at_s, scene.marked(frame, at_s if at_s in marked else None, canvas)) for at_s, frame in frames]


def _only(found: Gathered) -> str:
    """The page of the one report about heads, or of the one survey."""
    what = found.heads[0].folder if found.heads else found.source
    try:
        if found.surveys:
            return survey_page(found.surveys[0])
        return heads_page(found.heads[0].document, found.heads[0].arrays())
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as err:
        raise InputError(
            f"the data about heads in '{what}' are damaged: {type(err).__name__} {err}",
            hint="Make them again: crab visualize-heads",
        ) from err


def _heads(found: Gathered, heads: HeadsFound) -> list[str]:
    name = str(heads.folder.relative_to(found.source))
    try:
        return heads_short(heads.document)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as err:
        found.broken.append((name, f"damaged data about heads: {type(err).__name__} {err}"))
        return []


def _survey(found: Gathered, survey: dict[str, Any]) -> list[str]:
    try:
        return survey_short(survey)
    except (KeyError, IndexError, ValueError, TypeError, AttributeError) as err:
        found.broken.append(("survey.json", f"damaged data about heads: {type(err).__name__} {err}"))
        return []


def _run(run: dict[str, Any]) -> str:
    """When a run was, how far it came and how fast it was; empty if that is not what `run.json` holds."""
    try:
        clips = run["clips"]
        return (
            f"Run of {run['time']}: {run['state']}, {clips['done']} of {clips['total']} done, "
            f"{clips['failed']} failed, {float(run['seconds']):.1f} s, {float(run['clips_per_s']):.2f} clips a second."
        )
    except (KeyError, TypeError, ValueError):
        return ""
