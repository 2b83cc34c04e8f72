"""Event files read back by programs that are not ours, with labels that try to be more than text."""

from __future__ import annotations

import csv
import html
import io
import json
from pathlib import Path

import pympi
import pysubs2
import pytest
import webvtt

from crab_core.registry import WRITERS
from crab_core.render.writers._base import TextWriter
from crab_core.types import Event, Result

CLIP = Path("/clips/a b & c.mp4")
PLAIN = (
    Event("dog", 0.0, 2.5, "audio"),
    Event("church bell", 1.0, 9.123, "visual"),
    Event("dog", 3.0, 4.0, "audio"),
    Event("dog", 3.5, 3661.25, "audio"),
    Event("man, speaking", 4.0, 5.0),
)
EVIL = '=1+1, "it\'s" <b>&amp;</b> --> {\\an8}\n\n2\n00:00:00,000\t\\N \x00\u2028\ud800 ünïcode 狗'


def result(*events: Event) -> Result:
    return Result("a", "mini", "avvp", None, None, events, (), "", "used", 4000.0, 0.1)


def text_of(name: str, *events: Event) -> str:
    writer: TextWriter = WRITERS[name].load()
    text = writer.write(result(*events), CLIP)
    assert text.encode("utf-8").decode("utf-8") == text
    return text


def test_json_gives_the_result_back() -> None:
    assert Result.from_dict(json.loads(text_of("json", *PLAIN, Event(EVIL, 0, 1)))) == result(*PLAIN, Event(EVIL, 0, 1))


@pytest.mark.parametrize(("name", "dialect"), [("csv", csv.excel), ("tsv", csv.excel_tab)])
def test_tables(name: str, dialect: type[csv.Dialect]) -> None:
    rows = list(csv.DictReader(io.StringIO(text_of(name, *PLAIN)), dialect=dialect))
    read = tuple(Event(r["label"], float(r["start_s"]), float(r["end_s"]), r["track"]) for r in rows)  # type: ignore[arg-type]
    assert read == PLAIN


def test_a_label_is_no_formula_and_no_second_row() -> None:
    for text, delimiter in ((text_of("csv", Event(EVIL, 0, 1)), ","), (text_of("tsv", Event("=A1\tx\ny", 0, 1)), "\t")):
        rows = list(csv.reader(io.StringIO(text), delimiter=delimiter))
        assert len(rows) == 2 and len(rows[1]) == 4 and rows[1][3].startswith("'=")


def test_srt_through_pysubs2() -> None:
    read = pysubs2.SSAFile.from_string(text_of("srt", *PLAIN), format_="srt")
    assert [(cue.start, cue.end, cue.plaintext) for cue in read] == [
        (0, 2500, "dog (heard)"),
        (1000, 9123, "church bell (seen)"),
        (3000, 4000, "dog (heard)"),
        (3500, 3661250, "dog (heard)"),
        (4000, 5000, "man, speaking"),
    ]


def test_a_label_stays_one_plain_cue_of_srt() -> None:
    (cue,) = pysubs2.SSAFile.from_string(text_of("srt", Event(EVIL, 0, 1)), format_="srt")
    assert cue.plaintext == cue.text == '=1+1, "it\'s" ‹b›&amp;‹/b› --› (/an8) 2 00:00:00,000 /N ünïcode 狗'


def test_vtt_through_webvtt() -> None:
    read = webvtt.from_string(text_of("vtt", *PLAIN))
    assert [(cue.start, cue.end, cue.text) for cue in read][-2:] == [
        ("00:00:03.500", "01:01:01.250", "dog (heard)"),
        ("00:00:04.000", "00:00:05.000", "man, speaking"),
    ]
    assert len(read) == len(PLAIN)


def test_a_label_stays_one_plain_cue_of_vtt() -> None:
    (cue,) = webvtt.from_string(text_of("vtt", Event(EVIL, 0, 1)))
    assert html.unescape(cue.raw_text) == '=1+1, "it\'s" <b>&amp;</b> --> {\\an8} 2 00:00:00,000 \\N ünïcode 狗'
    assert "<" not in cue.raw_text and "-->" not in cue.raw_text


def test_audacity_lines_are_two_times_and_a_label() -> None:
    lines = text_of("audacity", *PLAIN, Event(EVIL, 5, 6)).splitlines()
    parts = [line.split("\t") for line in lines]
    assert {len(part) for part in parts} == {3} and len(parts) == 6
    assert parts[0] == ["0.000000", "2.500000", "dog (heard)"]
    assert [float(part[0]) for part in parts] == [0.0, 1.0, 3.0, 3.5, 4.0, 5.0]


def _elan(path: Path, *events: Event) -> pympi.Elan.Eaf:
    path.write_text(text_of("elan", *events), encoding="utf-8")
    return pympi.Elan.Eaf(str(path))


def test_elan_through_pympi(tmp_path: Path) -> None:
    read = _elan(tmp_path / "a.eaf", *PLAIN)
    assert {tier: sorted(read.get_annotation_data_for_tier(tier)) for tier in read.get_tier_names()} == {
        "seen and heard": [(4000, 5000, "man, speaking")],
        "seen": [(1000, 9123, "church bell")],
        "heard": [(0, 2500, "dog"), (3000, 4000, "dog")],
        "heard 2": [(3500, 3661250, "dog")],
    }
    assert read.get_linked_files()[0]["MEDIA_URL"] == "file:///clips/a%20b%20%26%20c.mp4"
    assert read.get_linked_files()[0]["MIME_TYPE"] == "video/mp4"


def test_a_label_stays_text_in_elan(tmp_path: Path) -> None:
    read = _elan(tmp_path / "a.eaf", Event(EVIL + "\uffff", 0, 0.0001))
    ((start, end, label),) = read.get_annotation_data_for_tier("seen and heard")
    assert (start, end) == (0, 1)
    assert label.strip() == '=1+1, "it\'s" <b>&amp;</b> --> {\\an8} 2 00:00:00,000 \\N ünïcode 狗'


def test_labelstudio_is_a_task_with_a_prediction() -> None:
    (task,) = json.loads(text_of("labelstudio", *PLAIN))
    assert task["data"] == {"clip": "a b & c.mp4"}
    (prediction,) = task["predictions"]
    regions: dict[str, dict[str, object]] = {}
    for part in prediction["result"]:
        assert part["to_name"] == "clip" and part["original_length"] == 4000.0
        regions.setdefault(part["id"], {}).update({part["from_name"]: part["value"][part["type"]], **part["value"]})
    read = [Event(r["label"][0], r["start"], r["end"], r["track"][0]) for r in regions.values()]  # type: ignore[index, arg-type]
    assert sorted(read, key=repr) == sorted(PLAIN, key=repr)


@pytest.mark.parametrize("name", WRITERS)
def test_no_events_make_a_file_that_opens(name: str, tmp_path: Path) -> None:
    text = text_of(name) if isinstance(WRITERS[name].load(), TextWriter) else ""
    if name == "vtt":
        assert len(webvtt.from_string(text)) == 0
    elif name == "srt":
        assert len(pysubs2.SSAFile.from_string(text, format_="srt")) == 0
    elif name == "elan":
        assert _elan(tmp_path / "a.eaf").get_annotation_data_for_tier("heard") == []
