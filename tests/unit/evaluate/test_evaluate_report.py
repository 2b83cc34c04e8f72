"""Tables with baselines, and their JSON and Markdown."""

from __future__ import annotations

import json

import pytest

from crab_core.errors import InputError, UsageError
from crab_core.evaluate.baselines import fit_majority, whole_clip
from crab_core.evaluate.bootstrap import Score
from crab_core.evaluate.report import Line, Report, Table, read_report, write_report
from crab_core.evaluate.rows import EventRow, QaRow
from crab_core.evaluate.tables import score_answers, score_localization, score_parsing
from crab_core.types import Event

ROWS = [
    QaRow("a", "how_many", "counting", "audio", "two", "2"),
    QaRow("a", "where", "location", "visual", "left", "right"),
    QaRow("b", "how_many", "counting", "audio", "1", "1"),
    QaRow("c", "how_many", "counting", "visual", "3", "1"),
]
EVENTS = [
    EventRow("a", 10, (Event("dog", 0, 5),), (Event("dog", 0, 5),)),
    EventRow("b", 10, (Event("dog", 0, 10),), (Event("bell", 0, 5),)),
]


def answers_table() -> Table:
    majority = fit_majority([("how_many", "1"), ("where", "right")])
    return score_answers(ROWS, {"majority": majority.rows(ROWS)})


def some_report() -> Report:
    tables = (answers_table(), score_localization(EVENTS, {"whole clip": whole_clip(EVENTS)}))
    return Report("mini on held-out seeds", {"model": "mini", "seed": "0"}, tables)


@pytest.mark.parametrize(
    ("name", "value", "majority", "rows", "clips"),
    [
        ("all", 2 / 4, 3 / 4, 4, 3),
        ("type counting", 2 / 3, 2 / 3, 3, 3),
        ("type location", 0.0, 1.0, 1, 1),
        ("modality audio", 1.0, 1 / 2, 2, 2),
        ("visual, counting", 0.0, 1.0, 1, 1),
        ("template how_many", 2 / 3, 2 / 3, 3, 3),
    ],
)
def test_answers_are_scored_by_group(name, value, majority, rows, clips):
    line = answers_table().line(name)
    assert line.score.value == pytest.approx(value)
    assert line.baselines["majority"].value == pytest.approx(majority)
    assert (line.score.rows, line.score.clips) == (rows, clips)


def test_localization_lines():
    table = score_localization(EVENTS, {"whole clip": whole_clip(EVENTS)})
    assert {line.name: line.score.value for line in table.lines} == {
        "event class": 0.5,
        "per-second accuracy": 0.5,
        "class, start and end exact": 0.5,
    }
    assert table.line("event class").baselines["whole clip"].value == 1
    assert table.line("per-second accuracy").baselines["whole clip"].value == 0.5
    assert table.line("class, start and end exact").baselines["whole clip"].value == 0


def test_parsing_lines_score_each_its_own_thing():
    truth = (Event("dog", 0, 4, "audio"), Event("dog", 0, 8, "visual"))
    rows = [EventRow("a", 10, (Event("dog", 0, 4),), truth)]
    table = score_parsing(rows, {"whole clip": whole_clip(rows)})
    values = {line.name: line.score.value for line in table.lines}
    assert values["audio: per-second F1"] == 1
    assert values["visual: per-second F1"] == pytest.approx(8 / 12)
    assert values["audio: whole list exact"] == 1
    assert values["visual: whole list exact"] == 0
    assert values["audio-visual: official F, segment level"] == 1
    assert values["Type@AV: official F, segment level"] == pytest.approx((1 + 8 / 12 + 1) / 3)
    assert values["Event@AV: official F, segment level"] == pytest.approx(16 / 20)
    assert values["visual: official F, event level"] == 1
    assert len(values) == 14
    # audio 0-10 against 0-4: 2*4 / (2*4 + 6)
    assert table.line("audio: per-second F1").baselines["whole clip"].value == pytest.approx(8 / 14)


def test_a_baseline_on_other_clips_is_refused():
    with pytest.raises(UsageError, match="same questions"):
        score_localization(EVENTS, {"whole clip": EVENTS[:1]})


def test_markdown_puts_baselines_beside_each_number():
    score = Score(0.75, 0.7, 0.8, 40, 10)
    lines = (Line("all", score, {"majority": Score(0.5, 0.4, 0.6, 40, 10)}), Line("type counting", score))
    assert Table("AVQA", lines).to_markdown() == (
        "| score | value | 95 % interval | majority | rows | clips |\n"
        "| --- | --: | --: | --: | --: | --: |\n"
        "| all | 0.750 | 0.700 to 0.800 | 0.500 | 40 | 10 |\n"
        "| type counting | 0.750 | 0.700 to 0.800 |  | 40 | 10 |\n"
    )


def test_above_its_baselines_means_the_whole_interval():
    better, worse = Score(0.5, 0.4, 0.6, 9, 9), Score(0.75, 0.7, 0.8, 9, 9)
    assert Line("all", worse, {"majority": better}).is_above_baselines
    assert not Line("all", better, {"majority": Score(0.45, 0.3, 0.6, 9, 9)}).is_above_baselines


def test_a_report_survives_its_files(tmp_path):
    report = some_report()
    as_json, as_markdown = write_report(report, tmp_path / "new" / "folder")
    again = read_report(as_json)
    assert again.to_dict() == report.to_dict()
    assert json.loads(as_json.read_text())["schema"] == "crab.scores/1"
    page = as_markdown.read_text()
    assert page.startswith("# mini on held-out seeds\n\n* model: mini\n* seed: 0\n\n## AVQA\n\n| score |")
    assert "## AVE" in page
    assert again.table("AVE").line("event class").score.value == 0.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(None, "no scores at", id="missing"),
        pytest.param("{", "holds no scores", id="torn"),
        pytest.param("[]", "holds no scores", id="a list"),
        pytest.param('{"schema": "crab.result/1"}', "'crab.result/1' is not 'crab.scores/1'", id="another schema"),
        pytest.param('{"schema": "crab.scores/1"}', "holds no scores", id="empty"),
    ],
)
def test_a_file_that_is_no_report_is_told(tmp_path, text, expected):
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=expected) as caught:
        read_report(path)
    assert str(path) in str(caught.value)


def test_an_unknown_line_or_table_names_the_known_ones():
    with pytest.raises(KeyError, match="which has all, type counting"):
        answers_table().line("everything")
    with pytest.raises(KeyError, match="which has AVQA, AVE"):
        some_report().table("AVVP")
