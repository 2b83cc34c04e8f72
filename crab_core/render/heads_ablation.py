"""The ablation table of a report about heads: as parts of its page, and as columns and rows for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crab_core.render.page import heading, paragraph, table

Document = Mapping[str, Any]
SENSES = {"audio": "heard", "visual": "seen", "both": "both"}


def ablation_table(document: Document) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[int, ...]]:
    """Columns, rows of texts, and the places of the columns that hold numbers; no rows if nothing was silenced.

    `change` is that of the log-probability (nats, of the whole model's own text). Masks and events have columns where
    some row has them.
    """
    ablations = document["ablations"]
    draws = any(one.get("mask_iou") is not None for one in ablations)
    tells = any(one.get("events") for one in ablations)
    columns = ("heads", "log-probability", "change", *(["mask"] if draws else []), "answer")
    rows = [
        (
            one["name"],
            f"{one['log_probability']:.2f}",
            f"{one['log_probability'] - ablations[0]['log_probability']:+.2f}",
            *([f"{one['mask_iou']:.2f}"] if draws else []),
            one["answer"] or "(none)",
            *([_events(one) or "(none)"] if tells else []),
        )
        for one in ablations
    ]
    return (*columns, *(["events"] if tells else [])), rows, (1, 2, 3)[: 3 if draws else 2]


def ablation_parts(document: Document, level: int = 2) -> list[str]:
    """The table and how to read it; nothing if nothing was silenced."""
    columns, rows, numbers = ablation_table(document)
    if not rows:
        return []
    return [
        heading("What is lost without a head", level),
        paragraph(
            "The model answers again while heads are silent. Log-probability and change say how likely it still finds "
            "the text that it wrote with all heads (natural logarithm). A head whose absence changes nothing had no "
            "part in this answer, whatever its map shows. Even and exchanged shares keep all heads and take away what "
            "the routers know: every head counts alike, or gets the share of the one before."
        ),
        *([paragraph("Mask: its overlap (IoU) with the one that all heads draw.")] if "mask" in columns else []),
        f'<div class="texts">{table(columns, rows, numbers=numbers)}</div>',
    ]


def _events(one: Document) -> str:
    return "; ".join(
        f"{event['label']} {event['start_s']:g}-{event['end_s']:g} s ({SENSES[event['track']]})"
        for event in one.get("events", [])
    )
