"""Fills the figures of docs/heads.md from benchmarks/results/heads.json: python docs/heads_card.py

`python benchmarks/heads.py --out benchmarks/results` writes that file. Long tables are put together: one row a task.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from between_markers import put_between, rewrite

from crab_core.evaluate.report import Line, Report, Table, read_report

PAGE = Path(__file__).with_name("heads.md")
SCORES = Path(__file__).parents[1] / "benchmarks" / "results" / "heads.json"
UNKNOWN = "Nothing was measured.\n"


def filled(page: str, report: Report | None) -> str:
    """The page with the report's figures between the markers; raises ValueError if it has no markers."""
    text = UNKNOWN if report is None else figures(report)
    return put_between(page, "figures:heads", text)


def figures(report: Report) -> str:
    """Facts as a list, then each table under a heading of the third level."""
    facts = "".join(f"* {name}: {value}\n" for name, value in report.facts.items())
    return facts + "".join(f"\n### {table.title}\n\n{_table(table)}" for table in report.tables)


def current() -> Report | None:
    """The figures that were measured last, None if there are none."""
    return read_report(SCORES) if SCORES.exists() else None


def _table(table: Table) -> str:
    if table.title.startswith("How the routers choose"):
        return _routers(table)
    if table.title.startswith("Pointing game"):
        return _by_task([line for line in table.lines if ", the target, " in line.name], _pointed)
    if table.title.startswith(("Specialisation", "Faithfulness")):
        return table.to_markdown()
    return _by_task(table.lines, _with_interval)


def _routers(table: Table) -> str:
    """Layers down, projections across; a cell is a router's value and that of one at its random start."""
    parts = []
    for told in dict.fromkeys(line.name.rpartition(", ")[0] for line in table.lines):
        lines = {line.name.rpartition(", ")[2]: line for line in table.lines if line.name.startswith(f"{told}, ")}
        mean = lines.pop("mean of all routers")
        layers = list(dict.fromkeys(name.rpartition(" ")[0] for name in lines))
        columns = list(dict.fromkeys(name.rpartition(" ")[2] for name in lines))
        rows = [[layer, *(_beside(lines.get(f"{layer} {name}")) for name in columns)] for layer in layers]
        heading = f"{told[0].upper()}{told[1:]}: {_with_interval(mean)}, at the random start "
        heading += f"{_fresh(mean)}. By router (in brackets at the random start):"
        parts.append(f"{heading}\n\n{_markdown(['', *columns], rows)}")
    return "\n".join(parts)


def _by_task(lines: Iterable[Line], told: Callable[[Line], str]) -> str:
    """One row a task, one column a thing that is said of each."""
    rows: dict[str, dict[str, str]] = {}
    for line in lines:
        task, _, name = line.name.partition(", ")
        rows.setdefault(task, {})[name.removeprefix("the target, ")] = told(line)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    return _markdown(
        ["task", *columns], [[task, *(row.get(name, "") for name in columns)] for task, row in rows.items()]
    )


def _markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    marks = ["---", *["--:"] * (len(head) - 1)]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in [head, marks, *rows])


def _with_interval(line: Line) -> str:
    score = line.score
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f})"


def _pointed(line: Line) -> str:
    chance = line.baselines.get("chance")
    return _with_interval(line) if chance is None else f"{line.score.value:.3f} (chance {chance.value:.3f})"


def _beside(line: Line | None) -> str:
    return "" if line is None else f"{line.score.value:.2f} ({_fresh(line)})"


def _fresh(line: Line) -> str:
    return f"{line.baselines['random start'].value:.2f}"


if __name__ == "__main__":
    rewrite(PAGE, lambda page: filled(page, current()))
