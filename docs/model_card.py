"""Fills the score tables of docs/models.md from the scores that lie beside the weights: python docs/model_card.py"""

from __future__ import annotations

from pathlib import Path

from between_markers import put_between, rewrite

import crab_core
from crab_core.evaluate.report import Report, read_report

PAGE = Path(__file__).with_name("models.md")
SCORES = Path(crab_core.__file__).parent / "families" / "assets" / "mini" / "metrics.json"
UNKNOWN = "No scores lie beside the weights.\n"


def filled(page: str, report: Report | None) -> str:
    """The page with the report's facts and tables between the markers; raises ValueError if it has no markers."""
    text = UNKNOWN if report is None else tables(report)
    return put_between(page, "scores:mini", text)


def tables(report: Report) -> str:
    """Facts as a list, then each table under a heading of the third level."""
    facts = "".join(f"* {name}: {value}\n" for name, value in report.facts.items())
    return facts + "".join(f"\n### {table.title}\n\n{table.to_markdown()}" for table in report.tables)


def current() -> Report | None:
    """The scores beside mini's weights, None if there are none."""
    return read_report(SCORES) if SCORES.exists() else None


if __name__ == "__main__":
    rewrite(PAGE, lambda page: filled(page, current()))
