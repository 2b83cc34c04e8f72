"""How alike the matrices of a model's heads are: tables by layer and projection, one a pair of heads and measure.

`alike` is what stands under that name in `heads.json`. Letters: P pairs of heads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crab_core.render.charts import Cells, cells_chart
from crab_core.render.page import heading, paragraph, table

Document = Mapping[str, Any]
Table = list[list[float | None]]

INK = "#6a51a3"
MEASURES = {
    "cosine": ("cosine", 1.0, ""),
    "cka": ("linear CKA", 1.0, ""),
    "angle_deg": ("principal angle", 90.0, " degrees"),
}


def alike_parts(document: Document) -> list[str]:
    """The section of a page; nothing for a model with one head, or for data that an older version wrote."""
    alike = document.get("alike")
    if not alike or not alike["pairs"]:
        return []
    rows = []
    for number, pair in enumerate(alike["pairs"]):
        cells = [_mean(_of_pair(alike[measure], number)) if measure in alike else None for measure in MEASURES]
        rows.append((_name(pair), _number(cells[0], 3), _number(cells[1], 3), _number(cells[2], 1)))
    cka, angle = (_mean(alike[f"chance_{measure}"]) for measure in ("cka", "angle_deg"))
    rows.append(("two random matrices of that shape", _number(0.0, 3), _number(cka, 3), _number(angle, 1)))
    charts = [f"<div>{chart}</div>" for _, chart in alike_charts(document)]
    first = len(alike["pairs"])  # charts of one measure stand in a row
    return [
        heading("Are the heads different matrices?"),
        paragraph(
            "This is about the model, whatever it is asked. Heads share the way down (A) and differ in the way up (B). "
            "The cosine of two of them is 1 where both do the same to every input, as copies would. "
            "Linear CKA is 1 where two heads write the same pattern, up to rotation and scale. The principal angle "
            "(mean over the rank) is 0 degrees where they write into the same directions, 90 where no direction is "
            "shared. Two heads as far apart as random matrices have nothing in common; two that are alike could be one."
        ),
        table(("heads", "cosine", "linear CKA", "principal angle, degrees"), rows, numbers=(1, 2, 3)),
        *(f'<div class="charts">{"".join(charts[at : at + first])}</div>' for at in range(0, len(charts), first)),
    ]


def alike_charts(document: Document) -> Iterator[tuple[str, str]]:
    """File names and charts, one a measure and pair."""
    alike = document.get("alike")
    if not alike:
        return
    layers = [str(layer) for layer in document["layers"]]
    for measure, (told, highest, unit) in MEASURES.items():
        if measure not in alike:  # of data that an older version wrote
            continue
        for number, pair in enumerate(alike["pairs"]):
            name = {"cka": "CKA", "angle_deg": "angle"}.get(measure, measure)
            cells = Cells(f"{name} {pair[0] + 1}, {pair[1] + 1}", f"{told} of {_name(pair)}", INK, highest, unit)
            chart = cells_chart(_of_pair(alike[measure], number), layers, document["projections"], cells)
            yield f"alike-{name.lower()}-heads-{pair[0] + 1}-{pair[1] + 1}", chart


def _of_pair(values: Sequence[Sequence[Sequence[float | None] | None]], number: int) -> Table:
    return [[cell[number] if cell else None for cell in row] for row in values]


def _name(pair: Sequence[int]) -> str:
    return f"heads {pair[0] + 1} and {pair[1] + 1}"


def _mean(values: Sequence[Sequence[float | None]]) -> float | None:
    """Of the cells that are there."""
    there = [value for row in values for value in row if value is not None]
    return sum(there) / len(there) if there else None


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
