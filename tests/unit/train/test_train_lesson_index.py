"""Lessons of annotated files by number: those of all lines, in little memory, and only of the file that was read."""

import gc
import json
import tracemalloc
from pathlib import Path

import pytest

from crab_core.data.lines import read_samples
from crab_core.data.sample import Sample
from crab_core.errors import InputError
from crab_core.train.file_data import read_lessons
from crab_core.train.lesson_index import LessonIndex
from crab_core.train.lessons import TAUGHT, lessons_of
from crab_core.train.settings import FileData

MIB = 1 << 20


def line(number: int, words: int = 3) -> str:
    asked = [{"question": f"What is {n}?", "answer": "dog " * (words + n)} for n in range(5)]
    events = [{"label": "dog", "start_s": 0, "end_s": 1, "track": "both"}]
    row = {"file": f"{number // 2}.mp4", "id": str(number), "seconds": 2, "questions": asked, "events": events}
    return json.dumps(row, ensure_ascii=False) + "\n"


def read(file: Path, **tasks: float) -> LessonIndex:
    return read_lessons(FileData((file,)), tasks, 100, 2, lambda task, seconds: 1.0)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "lines.jsonl"
    path.write_text("\ufeff" + line(0) + "\n" + "".join(line(number) for number in range(1, 9)))
    return path


def test_a_lesson_is_what_its_line_says(file: Path) -> None:
    samples = [one for one in read_samples(file) if isinstance(one, Sample)]
    held = [lesson for sample in samples for lesson in lessons_of(sample, file.parent, TAUGHT, 100, 2)]
    index = read(file)
    assert len(index) == len(held) == 9 * 5
    assert [index[number] for number in range(len(index))] == held
    assert index.texts == sum(len(one.texts) for one in held)
    assert index.letters.tolist() == [one.letters for one in held] and index.letters_in_all == sum(index.letters)
    assert index.clips == 5
    for task, places in index.places().items():
        assert places.tolist() == [number for number, one in enumerate(held) if one.task == task]


def test_only_the_named_tasks_are_taught(file: Path) -> None:
    assert read(file, ave=1.0, avqa=0.0).counts == {"ave": 9}
    assert list(read(file, ave=1.0, avqa=1.0).counts) == ["ave", "avqa"]


@pytest.mark.parametrize("change", [lambda text: text[: len(text) // 2], lambda text: text.replace("0.mp4", "9.mp4")])
def test_a_file_that_changes_under_a_run_is_told(file: Path, change) -> None:  # type: ignore[no-untyped-def]
    index = read(file)
    file.write_text(change(file.read_text()))
    with pytest.raises(InputError, match=r"'.*lines.jsonl' has changed since the run began, at line"):
        [index[number] for number in range(len(index))]


def test_the_lines_of_records_go_with_the_lessons(tmp_path: Path) -> None:
    record = {"vid": "a", "event": "dog", "start_time": 0, "end_time": 2}
    path = tmp_path / "records.json"
    path.write_text(json.dumps([record, {**record, "vid": "b"}]))
    index = read_lessons(FileData(av_uie={"ave": path}), {}, 100, 2, lambda task, seconds: 1.0)
    lines = index.sources[0].lines
    assert [index[number].file for number in range(2)] == ["AVE/a.mp4", "AVE/b.mp4"] and lines.exists()
    del index
    gc.collect()
    assert not lines.exists()


def test_a_large_file_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.jsonl"
    with path.open("w") as out:
        out.writelines(line(number, words=1_000) for number in range(1_500))
    assert path.stat().st_size > 25 * MIB
    tracemalloc.start()
    try:
        index = read(path)
        assert len(index) == 1_500 * 5
        index[len(index) - 1]
        assert tracemalloc.get_traced_memory()[1] < 3 * MIB
    finally:
        tracemalloc.stop()
