"""How the routers of a model chose for one answer: tables by layer and projection.

`routing` is what stands under that name in `heads.json`: bits, see `engine/heads_routing.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crab_core.render.charts import Cells, cells_chart
from crab_core.render.page import heading, paragraph, table

Document = Mapping[str, Any]

INK = "#00796b"
MEASURES = {
    "entropy": "entropy of a token's shares",
    "token": "what the token tells about the head",
    "kind": "what the token's kind tells",
}


def routing_parts(document: Document) -> list[str]:
    """The section of a page; nothing for one head, or for data that an older version wrote."""
    routing = document.get("routing")
    if not routing or not routing["most"]:
        return []
    rows = []
    for measure, told in MEASURES.items():
        values = [value for row in routing[measure] for value in row if value is not None]
        rows.append((told, *(f"{number:.3f}" for number in (sum(values) / len(values), min(values), max(values)))))
    charts = "".join(f"<div>{chart}</div>" for _, chart in routing_charts(document))
    return [
        heading("How the routers choose"),
        paragraph(
            f"In bits, of {routing['most']:.2f} at most. A router that knows nothing gives even shares: the entropy is "
            f"then {routing['most']:.2f}, and 0 if each token has one head for itself. What a token tells about the "
            "head is 0 if all tokens get the same shares; its kind is what it is part of, such as the pictures, the "
            "sound or the question. Each router counts by itself: the number of a head in one layer has nothing to do "
            "with its number in another, so that shares averaged over routers look more alike than they are."
        ),
        table(("bits", "mean over routers", "lowest", "highest"), rows, numbers=(1, 2, 3)),
        paragraph("In the tables below 1 is the most possible."),
        f'<div class="charts">{charts}</div>',
    ]


def routing_charts(document: Document) -> Iterator[tuple[str, str]]:
    """File names and charts, one a measure, as parts of the most possible."""
    routing = document.get("routing")
    if not routing or not routing["most"]:
        return
    layers = [str(layer) for layer in document["layers"]]
    for measure, told in MEASURES.items():
        parts = [[None if value is None else value / routing["most"] for value in row] for row in routing[measure]]
        cells = Cells(measure, f"{told}, 1 is the most possible", INK)
        yield f"routing-{measure}", cells_chart(parts, layers, document["projections"], cells)
