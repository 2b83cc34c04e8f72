"""What single routers tell about the task, for the report about many clips: a table, and one chart a kind of token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from crab_core.render.charts import Cells, cells_chart
from crab_core.render.page import heading, paragraph, table

Document = Mapping[str, Any]

INK = "#00796b"
KINDS = {"all": "all tokens", "written": "what was written"}


def by_router_parts(document: Document) -> list[str]:
    """The section of a page; nothing where no router was looked at by itself."""
    found = document["statistics"].get("by_router")
    if not found:
        return []
    rows = [
        (
            KINDS.get(kind, kind),
            f"{one['bits']['value']:.4f}",
            f"{one['bits']['low']:.4f} to {one['bits']['high']:.4f}",
            f"{one['best']:.4f}",
            f"{one['chance']:.4f}",
            f"{one['p']:.3f}",
        )
        for kind, one in found.items()
    ]
    charts = "".join(f"<div>{chart}</div>" for _, chart in by_router_charts(document))
    return [
        heading("The same, router by router"),
        paragraph(
            "Shares averaged over routers look more alike from task to task than they are: the number of a head in one "
            "layer has nothing to do with its number in another. Here each router counts by itself; bits are the mean "
            "over routers, beside the router that tells most and the mean with the tasks dealt out at random."
        ),
        table(("tokens", "bits", "95 % interval", "best router", "by chance", "p"), rows, numbers=(1, 2, 3, 4, 5)),
        paragraph("Below, the full colour is the router that tells most."),
        f'<div class="charts">{charts}</div>',
    ]


def by_router_charts(document: Document) -> Iterator[tuple[str, str]]:
    """File names and charts: bits by layer and projection."""
    for kind, one in (document["statistics"].get("by_router") or {}).items():
        title = f"bits that a router's head tells about the task, {KINDS.get(kind, kind)}"
        cells = Cells(kind, title, INK, highest=max(one["best"], 1e-9))
        layers = [str(layer) for layer in one["layers"]]
        yield f"routers-{kind}", cells_chart(one["each"], layers, one["projections"], cells)
