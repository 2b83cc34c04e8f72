"""The page over many clips and its charts: pure functions of a small document."""

from xml.etree import ElementTree

import pytest
from test_render_heads import EVIL, SVG, parsed

from crab_core.render.heads_survey_page import ROWS, survey_figures, survey_page
from crab_core.render.scatter import intervals_chart, legend_mark, scatter_chart

BAR = {"value": 0.5, "low": 0.4, "high": 0.6}


def findings(heads=3, rows=2, text="dog", tasks=("ave", "avqa")):
    shares = [1 / heads] * heads
    return {
        "schema": "crab.heads-survey/1",
        "model": text,
        "source": text,
        "heads": heads,
        "statistics": {
            "points": {task: [shares, shares] for task in tasks},
            "profiles": [{"task": task, "clips": 2, "heads": [BAR] * heads} for task in tasks],
            "cost": [{"task": task, "clips": 2, "heads": [BAR] * (heads + 1)} for task in tasks],
            "specialisation": {
                "all": {
                    "bits": BAR,
                    "most": 1.0,
                    "chance": 0.1,
                    "chance_high": 0.2,
                    "p": 0.01,
                    "is_beyond_chance": True,
                }
            },
        },
        "rows": [
            {"clip": text, "task": task, "answer": "", "raw_text": text, "shares": {"all": shares}}
            for task in tasks
            for _ in range(rows)
        ],
        "failures": [{"id": text, "task": "ave", "stage": "probe", "error": "InputError", "message": text}],
        "notes": [text],
    }


def test_a_scatter_has_a_mark_a_point_and_one_scale_on_both_axes():
    root = ElementTree.fromstring(scatter_chart({EVIL: [(0.2, 0.5), (0.4, 0.5)], "b": [(0.2, 0.6)]}, ("x", "y"), "t"))
    marks = [[tuple(map(float, c.split(","))) for c in m.get("points").split()] for m in root.iter(f"{SVG}polygon")]
    assert len(marks) == 3
    (x0, y0), (x1, _), (_, y2) = [(sum(x for x, _ in m) / len(m), sum(y for _, y in m) / len(m)) for m in marks]
    assert x1 > x0
    assert y2 < y0  # up is more
    assert (x1 - x0) == pytest.approx(2 * (y0 - y2), abs=1)
    assert len(marks[0]) != len(marks[2])  # groups differ in shape too
    assert ElementTree.fromstring(scatter_chart({}, ("x", "y"), "t")) is not None


def test_intervals_lie_around_their_values():
    root = ElementTree.fromstring(intervals_chart({EVIL: [(0.5, 0.4, 0.6), (0.1, 0.1, 0.1)]}, ["a", "b"], "t"))
    groups = [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}circle") is not None]
    line, dot = groups[0].find(f"{SVG}line"), groups[0].find(f"{SVG}circle")
    assert float(line.get("x1")) < float(dot.get("cx")) < float(line.get("x2"))
    assert float(groups[1].find(f"{SVG}circle").get("cx")) < float(line.get("x1"))
    assert ElementTree.fromstring(intervals_chart({}, [], "t")) is not None
    assert ElementTree.fromstring(legend_mark(9)) is not None


def test_the_page_shows_everything_and_escapes_every_text():
    html = survey_page(findings(text=EVIL))
    tags = parsed(html)
    assert "script" not in tags.names
    assert tags.sources == []
    assert "&lt;script&gt;" in html
    for part in ("Clip by clip", "What each task asks", "go together", "loses without a head", "What failed"):
        assert part in html
    assert "50.00%" in html


@pytest.mark.parametrize(
    ("change", "lacking"),
    [
        pytest.param({"heads": 1}, "Clip by clip", id="one-head"),
        pytest.param({"tasks": ()}, "Every answer", id="nothing"),
    ],
)
def test_what_is_not_there_is_not_shown(change, lacking):
    html = survey_page(findings(**change))
    parsed(html)
    assert lacking not in html


def test_a_long_list_is_cut_and_says_so():
    html = survey_page(findings(rows=ROWS, tasks=("ave",)) | {"failures": []})
    assert "more: see" not in html
    assert "and 1 more: see heads.jsonl" in survey_page(findings(rows=ROWS + 1, tasks=("ave",)))


BY_ROUTER = {
    "bits": BAR,
    "most": 1.0,
    "chance": 0.1,
    "p": 0.01,
    "best": 0.8,
    "layers": [0],
    "projections": ["q_proj", "up_proj"],
    "each": [[0.8, None]],
}


def test_routers_one_by_one_and_even_shares():
    document = findings()
    statistics = document["statistics"]
    even = [{"task": "avqa", "clips": 2, "heads": [BAR]}]
    document["statistics"] = {**statistics, "by_router": {"all": BY_ROUTER}, "even_cost": even}
    html = survey_page(document)
    assert "router by router" in html and ">0.8000<" in html
    assert html.count("<th>shares all even</th>") == 1
    cells = [
        row.count("<td") for row in html.partition("shares all even")[2].partition("</table>")[0].split("<tr>")[1:]
    ]
    assert cells == [6, 6]  # a task without the figure has an empty cell, no shorter row
    svg = dict(survey_figures(document))["routers-all.svg"]
    (cell,) = ElementTree.fromstring(svg).findall(f"{SVG}rect")
    assert cell.find(f"{SVG}title").text == "layer 0, q_proj, all: 0.800"
    assert "router by router" not in survey_page(findings())  # data that an older version wrote


def test_figures_are_svg():
    found = dict(survey_figures(findings()))
    assert set(found) == {*(f"scatter-heads-{pair}.svg" for pair in ("1-2", "1-3", "2-3")), "profiles.svg", "cost.svg"}
    for content in found.values():
        ElementTree.fromstring(content)
