"""Tables of scores as JSON and Markdown, each number with its interval and its baselines beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from crab_core.errors import InputError
from crab_core.evaluate.bootstrap import Score

SCHEMA = "crab.scores/1"


@dataclass(frozen=True, slots=True)
class Line:
    """One metric: the model's score, those of the baselines by name, and what a paper reports (None: nothing)."""

    name: str
    score: Score
    baselines: Mapping[str, Score] = field(default_factory=dict)
    paper: float | None = None

    @property
    def is_above_baselines(self) -> bool:
        """True if the lower end of the interval lies above every baseline's score."""
        return all(self.score.low > other.value for other in self.baselines.values())


@dataclass(frozen=True, slots=True)
class Table:
    """The lines of one task on one set of clips."""

    title: str
    lines: tuple[Line, ...]

    def line(self, name: str) -> Line:
        """The line of that name; raises KeyError with all names."""
        found = {line.name: line for line in self.lines}
        if name not in found:
            raise KeyError(f"no line '{name}' in '{self.title}', which has {', '.join(found)}")
        return found[name]

    def to_markdown(self) -> str:
        """A Markdown table: name, score, interval, one column a baseline, a paper's numbers, rows and clips."""
        head, *body = self.cells()
        marks = ["---", *["--:"] * (len(head) - 1)]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, marks, *body]) + "\n"

    def to_latex(self) -> str:
        """The same table as a LaTeX `tabular` for the package booktabs, every name escaped."""
        head, *body = ([_escaped(cell) for cell in cells] for cells in self.cells())
        rows = "".join(f"{' & '.join(cells)} \\\\\n" for cells in body)
        ruled = f"\\toprule\n{' & '.join(head)} \\\\\n\\midrule\n{rows}\\bottomrule\n"
        return f"% {_escaped(self.title)}\n\\begin{{tabular}}{{l{'r' * (len(head) - 1)}}}\n{ruled}\\end{{tabular}}\n"

    def cells(self) -> list[list[str]]:
        """The head and the rows of the table as texts."""
        named = list(dict.fromkeys(key for line in self.lines for key in line.baselines))
        paper = ["paper"] if any(line.paper is not None for line in self.lines) else []
        head = ["score", "value", "95 % interval", *named, *paper, "rows", "clips"]
        return [head, *(_cells(line, named, has_paper=bool(paper)) for line in self.lines)]


@dataclass(frozen=True, slots=True)
class Report:
    """Tables and the facts that make them repeatable: model, split, seeds, generator hash, machine, commit, date."""

    title: str
    facts: Mapping[str, str]
    tables: tuple[Table, ...]

    def table(self, title: str) -> Table:
        """The table of that title; raises KeyError with all titles."""
        found = {table.title: table for table in self.tables}
        if title not in found:
            raise KeyError(f"no table '{title}' in '{self.title}', which has {', '.join(found)}")
        return found[title]

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, numbers rounded to four digits."""
        document = asdict(self)
        return {"schema": SCHEMA, **_rounded(document)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Report:
        """The report that `to_dict` wrote; raises ValueError for another schema."""
        if document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r} is not {SCHEMA!r}")
        return cls(document["title"], dict(document["facts"]), tuple(map(_table, document["tables"])))

    def to_markdown(self) -> str:
        """Title, facts and tables as one Markdown page."""
        facts = "".join(f"* {name}: {value}\n" for name, value in self.facts.items())
        tables = "".join(f"\n## {table.title}\n\n{table.to_markdown()}" for table in self.tables)
        return f"# {self.title}\n\n{facts}{tables}"


def write_report(report: Report, folder: Path, stem: str = "metrics") -> tuple[Path, Path]:
    """Writes `metrics.json` and `metrics.md` into the folder, which is made if it is not there; gives both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    as_json, as_markdown = folder / f"{stem}.json", folder / f"{stem}.md"
    as_json.write_text(json.dumps(report.to_dict(), indent=1) + "\n", encoding="utf-8")
    as_markdown.write_text(report.to_markdown(), encoding="utf-8")
    return as_json, as_markdown


def read_report(path: Path) -> Report:
    """The report of a JSON file; raises InputError if it is missing or no report."""
    try:
        return Report.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as err:
        raise InputError(f"no scores at '{path}'") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise InputError(f"'{path}' holds no scores that this version reads: {err}") from err


def _cells(line: Line, named: list[str], *, has_paper: bool) -> list[str]:
    mine = line.score
    others = [f"{line.baselines[key].value:.3f}" if key in line.baselines else "" for key in named]
    others += ["" if line.paper is None else f"{line.paper:.3f}"] if has_paper else []
    interval = f"{mine.low:.3f} to {mine.high:.3f}"
    return [line.name, f"{mine.value:.3f}", interval, *others, str(mine.rows), str(mine.clips)]


def _escaped(text: str) -> str:
    """The text with LaTeX's special letters as themselves."""
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(one, f"\\{one}" if one in "&%$#_{}" else one) for one in text)


def _table(document: Mapping[str, Any]) -> Table:
    return Table(document["title"], tuple(map(_line, document["lines"])))


def _line(document: Mapping[str, Any]) -> Line:
    others = {name: Score(**one) for name, one in document["baselines"].items()}
    return Line(document["name"], Score(**document["score"]), others, document.get("paper"))


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(one) for one in value]
    return round(value, 4) if isinstance(value, float) else value
