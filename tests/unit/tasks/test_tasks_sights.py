"""Boxes and masks in texts: what is written is read back, every published format is read, nothing raises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crab_core.errors import UsageError
from crab_core.registry import TASKS
from crab_core.tasks.sights import (
    MASK,
    NOTHING,
    read_boxes,
    read_mask,
    read_referred,
    write_box,
    write_boxes,
    write_mask,
    write_referred,
)
from crab_core.tasks.wording import EVALUATION, MOMENT, QUICK_START, TRAIN
from crab_core.types import Box, Canvas

CANVAS = Canvas(10.0, size=(448, 224), model_size=(224, 224))
SAME = Canvas(10.0, size=(100, 100), model_size=(100, 100))
STILL = ["arig", "ssl", "s4", "ms3", "avss", "ref-avs"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(
            "The sounding object is dog. Its coordinate of top left corner is (10,20) and coordinate of bottom right "
            "corner is (50,60)",
            id="crab-target",
        ),
        pytest.param("The sounding object is dog. Its coordinates are <obj>(10,20)(50,60)</obj>.", id="crab-label"),
        pytest.param("The sounding object is dog, its box is [10,20,50,60] and points [20,30]", id="crab-plus"),
        pytest.param(
            "the sounding object is dog.  Its coordinates are <obj> ( 10, 20 ) ( 50, 60 ) </obj></s>", id="odd"
        ),
        pytest.param("The sounding object is dog. <obj>[10.0,20.0][50.0,60.0]", id="brackets"),
    ],
)
def test_every_format_gives_the_box_in_pixels_of_the_frame(text: str) -> None:
    reading = read_boxes(text, CANVAS)
    assert reading.boxes == (Box("dog", 20, 20, 100, 60),)
    assert reading.answer is not None and reading.answer.text == "dog"
    assert reading.problems == ()


def test_several_boxes_keep_their_names() -> None:
    boxes = [Box("dog", 1, 2, 30, 40), Box("alarm clock", 50, 2, 100, 40), Box("dog", 60, 60, 70, 80)]
    reading = read_boxes(write_boxes(boxes), SAME)
    assert list(reading.boxes) == boxes
    assert reading.answer is not None and reading.answer.text == "dog, alarm clock"


def test_nothing_that_sounds_is_an_answer_and_no_problem() -> None:
    for text in (write_box(None), write_boxes([])):
        reading = read_boxes(text, SAME)
        assert reading.answer is not None and reading.answer.text == NOTHING
        assert reading.boxes == () and reading.problems == ()


@pytest.mark.parametrize(
    ("text", "problem", "kept"),
    [
        pytest.param("The sounding object is dog. (50,20)(10,60)", "has no area", 0, id="turned-around"),
        pytest.param(
            "The sounding object is dog. (150,20)(190,60)", "outside the picture of 100 x 100", 0, id="outside"
        ),
        pytest.param("The sounding object is dog. (-5,20)(190,60)", "was cut to the picture", 1, id="cut"),
        pytest.param("I see a dog.", "the text has no box", 0, id="none"),
        pytest.param("", "the model wrote nothing", 0, id="empty"),
    ],
)
def test_what_cannot_be_used_is_told(text: str, problem: str, kept: int) -> None:
    reading = read_boxes(text, SAME)
    assert len(reading.boxes) == kept
    assert any(problem in one for one in reading.problems), reading.problems


@pytest.mark.parametrize("ordinal", [None, "third"])
def test_a_mask_names_what_it_is_of(ordinal: str | None) -> None:
    for label in ("dog", "violin and alarm clock"):
        text = write_mask(label, ordinal)
        assert text.endswith(MASK)
        assert (reading := read_mask(text, SAME)).answer is not None
        assert reading.answer.text == label and reading.problems == ()
    silent = write_mask(NOTHING, ordinal)
    assert MASK not in silent
    assert (reading := read_mask(silent, SAME)).answer is not None and reading.answer.text == NOTHING


@pytest.mark.parametrize("ordinal", [None, "third"])
def test_an_expression_means_what_stands_behind_it(ordinal: str | None) -> None:
    for expression in ("the object that is loudest", "the dog"):
        for label in ("dog", "cup and tree", NOTHING):
            text = write_referred(expression, label, ordinal)
            assert (MASK in text) == (label != NOTHING)
            assert (reading := read_referred(text, SAME)).answer is not None
            assert reading.answer.text == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        pytest.param(f"the lonely dog is {MASK}", "the lonely dog", id="crab-evaluation"),
        pytest.param("<answer>true</answer> [1,2,3,4]", "object", id="crab-plus-true"),
        pytest.param("<answer>false</answer>.", NOTHING, id="crab-plus-false"),
    ],
)
def test_published_answers_to_expressions_are_read(text: str, label: str) -> None:
    assert (reading := read_referred(text, SAME)).answer is not None
    assert reading.answer.text == label


@pytest.mark.parametrize(
    ("told", "label"),
    [("dog and dog", "dog"), ("dog, cat and dog", "dog and cat"), ("dog, cat and cow", "dog, cat and cow")],
)
def test_a_name_told_twice_counts_once(told: str, label: str) -> None:
    assert (reading := read_mask(write_mask(told), SAME)).answer is not None and reading.answer.text == label


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    for read in (read_boxes, read_mask, read_referred):
        read(text, SAME)


@pytest.mark.parametrize("task", STILL)
def test_tasks_about_pictures_show_what_their_profile_shows(task: str) -> None:
    known = TASKS[task].load()
    question = "The Dog" if known.needs_question else None
    shown = {profile: known.wording(question, profile).media for profile in (TRAIN, EVALUATION, QUICK_START, MOMENT)}
    assert shown[MOMENT] == ("image", "audio") if task != "ssl" else True
    assert shown[QUICK_START] == ("image", "audio")
    assert shown[TRAIN] == (("image", "audio") if task in ("arig", "ssl") else ("video", "audio"))
    if task == "ref-avs":
        assert shown[EVALUATION] == ("video", "audio", "image")
        assert "the dog" in known.wording(question, TRAIN).parts[-1].text
        assert "The Dog" in known.wording(question, EVALUATION).parts[-1].text


def test_an_expression_is_needed_and_cannot_place_media() -> None:
    known = TASKS["ref-avs"].load()
    with pytest.raises(UsageError, match="needs an expression"):
        known.wording(" ", TRAIN)
    assert known.wording("the <video> dog", MOMENT).media == ("image", "audio")
