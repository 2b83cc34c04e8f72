"""The report about the LoRA heads over many clips: which task uses which head, as a page and its figures.

`document` is what `survey.json` holds (schema `crab.heads-survey/1`): the page can be made again without a model.
Letters: H heads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import combinations
from typing import Any

from crab_core.render.colours import colour
from crab_core.render.heads_survey_routers import by_router_charts, by_router_parts
from crab_core.render.page import heading, page, paragraph, table
from crab_core.render.scatter import Bar, intervals_chart, legend_mark, scatter_chart

Document = Mapping[str, Any]

PAIRS = 6  # scatters shown; four heads have six pairs
ROWS = 400  # answers listed on the page
KINDS = {"all": "all tokens", "written": "what was written", "wording": "wording of the task"}


def survey_page(document: Document) -> str:
    """The self-contained page."""
    body = [*_head(document), *_scatters(document), *_profiles(document), *_specialisation(document)]
    body += [*by_router_parts(document), *_cost(document), *_failures(document), *_answers(document), *_reading()]
    return page(f"Heads: {document['source']}", body)


def survey_short(document: Document) -> list[str]:
    """What was found, as parts of a page about more than it, without the answers."""
    return [
        *_head(document, level=2),
        *_profiles(document),
        *_specialisation(document),
        *by_router_parts(document),
        *_cost(document),
    ]


def survey_figures(document: Document) -> Iterator[tuple[str, bytes]]:
    """File names and contents for a paper, all SVG."""
    for name, chart in _charts(document):
        yield f"{name}.svg", chart.encode()


def _charts(document: Document) -> Iterator[tuple[str, str]]:
    for first, second in _pairs(document):
        yield f"scatter-heads-{first + 1}-{second + 1}", _scatter(document, first, second)
    if document["statistics"]["profiles"]:
        yield "profiles", _intervals(document, "profiles", "mean share of each head by task")
    yield from by_router_charts(document)
    if document["statistics"]["cost"]:
        yield "cost", _intervals(document, "cost", "nats a token lost without each head")


def _head(document: Document, level: int = 1) -> list[str]:
    tasks = Counter(row["task"] for row in document["rows"])
    clips = len({row.get("path") or row["clip"] for row in document["rows"]})
    told = ", ".join(f"{task} {count}" for task, count in tasks.items()) or "none"
    keys = [
        f'<span class="key" style="background:{colour(head)}"></span>head {head + 1}'
        for head in range(document["heads"])
    ]
    return [
        heading("Which task uses which LoRA head", level),
        paragraph(f"{document['source']} · model {document['model']}, {document['heads']} heads", "dim"),
        paragraph(f"{clips} clips, answers by task: {told}. {len(document['failures'])} failed."),
        *(paragraph(f"Note: {note}", "dim") for note in document["notes"]),
        f"<p>{' &nbsp; '.join(keys)}</p>",
    ]


def _scatters(document: Document) -> list[str]:
    pairs = _pairs(document)
    if not pairs:
        return []
    marks = "".join(
        f'<span class="mark">{legend_mark(number)} {escape(task)}</span>'
        for number, task in enumerate(document["statistics"]["points"])
    )
    charts = "".join(f"<div>{_scatter(document, *pair)}</div>" for pair in pairs)
    return [
        heading("Clip by clip"),
        paragraph(
            "One mark a clip and task: the mean shares of two heads over all layers and all tokens that were read. "
            "Clouds that lie apart mean that tasks use the heads differently; mind the scale of the axes."
        ),
        f"<p>{marks}</p>",
        f'<div class="charts">{charts}</div>',
    ]


def _profiles(document: Document) -> list[str]:
    if not document["statistics"]["profiles"]:
        return []
    chart = _intervals(document, "profiles", "mean share of each head by task")
    return [
        heading("What each task asks of the heads"),
        paragraph("Mean share of each head; the lines are 95 % intervals over clips."),
        f'<div class="wide">{chart}</div>',
    ]


def _specialisation(document: Document) -> list[str]:
    found = document["statistics"]["specialisation"]
    if not found:
        return []
    rows = [
        (
            KINDS.get(kind, kind),
            f"{one['bits']['value']:.5f}",
            f"{one['bits']['low']:.5f} to {one['bits']['high']:.5f}",
            f"{one['chance']:.5f}",
            f"{one['p']:.3f}",
            f"{one['bits']['value'] / one['most']:.2%}",
        )
        for kind, one in found.items()
    ]
    columns = ("tokens", "bits", "95 % interval", "by chance", "p", "of the most possible")
    most = next(iter(found.values()))["most"]
    return [
        heading("How far heads and tasks go together"),
        paragraph(
            f"Mutual information of head and task: 0 bits if all tasks use the heads alike, {most:.2f} if each has its "
            "own. By chance: the same with the tasks dealt out at random; p is the share of such deals that reach it. "
            "A small p says that there is a difference, the bits say how large it is. Words differ from task to task, "
            "so differences at the wording and at what is written come cheap; and where sight and sound stand before "
            "the words of the task, a model that reads forwards cannot treat them by task."
        ),
        table(columns, rows, numbers=(1, 2, 3, 4, 5)),
    ]


def _cost(document: Document) -> list[str]:
    cost = document["statistics"]["cost"]
    if not cost:
        return []
    even = {one["task"]: _bar(one["heads"][0]) for one in document["statistics"].get("even_cost", [])}
    silenced = [*(f"head {head + 1}" for head in range(document["heads"])), "all heads"][-len(cost[0]["heads"]) :]
    rows = [(one["task"], *map(_bar, one["heads"]), *([even.get(one["task"], "")] if even else [])) for one in cost]
    columns = ("task", *(f"without {name}" for name in silenced), *(["shares all even"] if even else []))
    return [
        heading("What a task loses without a head"),
        paragraph(
            "How much less likely the model's own text becomes with a head silenced: nats a token, mean over clips "
            "and 95 % interval. Around 0, the head had no part in the answers, whatever its share. With all shares "
            "even the heads stay and the routers' choice goes: what is lost then is what routing is worth."
        ),
        table(columns, rows),
    ]


def _bar(bar: Document) -> str:
    """May be broken before the interval only: there are many columns."""
    return f"{bar['value']:+.3f} ({bar['low']:+.3f}\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}{bar['high']:+.3f})"


def _failures(document: Document) -> list[str]:
    failures = document["failures"]
    if not failures:
        return []
    rows = [(one["id"], one["task"], one["stage"], one["message"]) for one in failures[:ROWS]]
    return [heading("What failed"), table(("clip", "task", "stage", "why"), rows), *_more(failures, "errors.jsonl")]


def _answers(document: Document) -> list[str]:
    rows = document["rows"]
    if not rows:
        return []
    columns = ("clip", "task", "answer", *(f"head {head + 1}" for head in range(document["heads"])))
    shown = [
        (
            row["clip"],
            row["task"],
            _said(row),
            *(f"{v:.3f}" for v in row["shares"]["all"]),
        )
        for row in rows[:ROWS]
    ]
    return [
        heading("Every answer"),
        table(columns, shown, numbers=range(3, len(columns))),
        *_more(rows, "heads.jsonl"),
    ]


def _said(row: Document) -> str:
    return row["answer"] or row["raw_text"][:120] or "(none)"


def _more(rows: Sequence[object], name: str) -> list[str]:
    hidden = len(rows) - ROWS
    return [paragraph(f"and {hidden} more: see {name}", "dim")] if hidden > 0 else []


def _reading() -> list[str]:
    return [
        heading("How to read this"),
        paragraph(
            "A head is an expert of the low-rank adapter; a router gives each token shares that make 1. A share says "
            "who was asked, the cost of silence who was needed. Intervals draw whole clips with replacement.",
            "dim",
        ),
    ]


def _pairs(document: Document) -> list[tuple[int, int]]:
    if not document["statistics"]["points"]:
        return []
    return list(combinations(range(document["heads"]), 2))[:PAIRS]


def _scatter(document: Document, first: int, second: int) -> str:
    points = {
        task: [(shares[first], shares[second]) for shares in some]
        for task, some in document["statistics"]["points"].items()
    }
    axes = (f"share of head {first + 1}", f"share of head {second + 1}")
    return scatter_chart(points, axes, f"{axes[0]} and {axes[1]}, one mark a clip and task")


def _intervals(document: Document, what: str, title: str) -> str:
    rows: dict[str, list[Bar]] = {
        one["task"]: [(bar["value"], bar["low"], bar["high"]) for bar in one["heads"]]
        for one in document["statistics"][what]
    }
    names = [*(f"head {head + 1}" for head in range(document["heads"])), "all heads"]
    count = max((len(bars) for bars in rows.values()), default=0)
    return intervals_chart(rows, names if what == "profiles" else names[-count:], title)
