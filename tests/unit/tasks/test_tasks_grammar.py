"""The readers: published formats, half-broken texts, and that whatever a writer writes is read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crab_core.tasks.grammar import (
    read_answer,
    read_ave,
    read_avvp,
    read_caption,
    write_answer,
    write_ave,
    write_avvp,
)
from crab_core.types import Answer, Canvas, Event

TEN = Canvas(duration_s=10.0)
READERS = {"avqa": read_answer, "ave": read_ave, "avvp": read_avvp, "avcap": read_caption}


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<answer> yes </answer>.", "yes", ""),
        ("I hear a dog. So the answer is <answer> saxophone </answer>.", "saxophone", "I hear a dog."),
        ("I hear a dog, so the answer is: <answer>two</answer></s>", "two", "I hear a dog,"),
        ("A dog barks. < Answer >Yes</ ANSWER > and more", "Yes", "A dog barks."),
        ("A dog. Therefore, the answer is <answer> left", "left", "A dog."),
        ("first <answer></answer> then <answer> two\n dogs </answer>", "two dogs", "first then"),
        ("just words\nin lines", "just words in lines", ""),
        ("", "", ""),
    ],
    ids=["bare", "published", "untidy", "capitals", "unclosed", "empty-first", "untagged", "empty"],
)
def test_an_answer_is_parted_from_its_reasoning(text: str, answer: str, reasoning: str) -> None:
    assert read_answer(text, TEN).answer == Answer(answer, reasoning)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("words", "the text has no answer tag"),
        (" ", "the model wrote nothing"),
        ("<answer> a", "the answer tag is not closed"),
        ("<answer> a </answer> <answer> b </answer>", "2 answers were given and the first one was taken"),
    ],
    ids=["untagged", "empty", "unclosed", "two"],
)
def test_a_strange_answer_is_a_problem(text: str, problem: str) -> None:
    assert read_answer(text, TEN).problems == (problem,)


PUBLISHED_AVE = (
    "The man is seen all the time and heard until 8. So the audible and visible event in the video is "
    "<event> Male speech, man speaking </event>, and the time range is <range> 0,8 </range>."
)
SPEECH = "Male speech, man speaking"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (PUBLISHED_AVE, [(SPEECH, 0, 8)]),
        ("<event> dog </event> <range> 0,3 </range> and <range> 5,8 </range>", [("dog", 0, 3), ("dog", 5, 8)]),
        ("<event>dog</event><range>0,3;5,8</range>", [("dog", 0, 3), ("dog", 5, 8)]),
        (
            "<event>dog</event><range>1-3</range>; <event>cat</event><range>5 to 8</range>",
            [("dog", 1, 3), ("cat", 5, 8)],
        ),
        ("From <range> 2,4 </range> the <event> bell </event>", [("bell", 2, 4)]),
        ("<event>dog,(0 8)</event>", [("dog", 0, 8)]),
        ("<event> dog <range> 0,2.5", [("dog", 0, 2.5)]),
        ("<event> none </event>", []),
    ],
    ids=["published", "two-ranges", "one-tag", "two-events", "range-first", "brackets", "unclosed", "none"],
)
def test_events_of_localization(text: str, events: list[tuple[str, float, float]]) -> None:
    assert read_ave(text, TEN).events == tuple(Event(label, start, end) for label, start, end in events)


def test_the_concluding_sentence_is_no_reasoning() -> None:
    answer = read_ave(PUBLISHED_AVE, TEN).answer
    assert answer == Answer(f"{SPEECH} from 0 to 8 s", "The man is seen all the time and heard until 8.")


PUBLISHED_AVVP = "<visual>Chainsaw,(0 10)</visual> and <audio>Chainsaw,(0 10)</audio>"


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (PUBLISHED_AVVP, [("Chainsaw", 0, 10, "visual"), ("Chainsaw", 0, 10, "audio")]),
        ("<visual_event>dog,(0 3),(5 8)</visual_event>", [("dog", 0, 3, "visual"), ("dog", 5, 8, "visual")]),
        ("<audio_event>dog,(0 3); cat (1,2)</audio_event>", [("dog", 0, 3, "audio"), ("cat", 1, 2, "audio")]),
        ("<audio_event>dog,(0 3) and cat,(1 2)</audio_event>", [("dog", 0, 3, "audio"), ("cat", 1, 2, "audio")]),
        ("<audio_event> dog,(0 3)", [("dog", 0, 3, "audio")]),
        ("<visual_event> none </visual_event> and <audio_event> bell,(4 5) </audio_event>.", [("bell", 4, 5, "audio")]),
    ],
    ids=["published", "two-ranges", "semicolon", "and", "unclosed", "none"],
)
def test_events_of_parsing(text: str, events: list[tuple[str, float, float, str]]) -> None:
    assert [(one.label, one.start_s, one.end_s, one.track) for one in read_avvp(text, TEN).events] == events


def test_parsing_is_told_in_words() -> None:
    assert read_avvp(PUBLISHED_AVVP, TEN).answer == Answer(
        "seen: Chainsaw from 0 to 10 s; heard: Chainsaw from 0 to 10 s"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<event>dog</event><range>8,2</range>", "'dog' from 8 to 2 has no length and was left out"),
        ("<event>dog</event><range>3</range>", "the range '3' is not a start and an end"),
        ("<event>dog</event>", "the event 'dog' has no time range"),
        ("<range>1,2</range>", "the range 1 to 2 has no event"),
        ("<event>dog</event><range>1,2</range><range>1,2</range>", "'dog' from 1 to 2 is said twice"),
        ("no tags at all", "the text has no event tag"),
        ("", "the model wrote nothing"),
    ],
    ids=["backwards", "one-number", "no-range", "no-event", "twice", "untagged", "empty"],
)
def test_a_strange_event_is_a_problem(text: str, problem: str) -> None:
    reading = read_ave(text, TEN)
    assert problem in reading.problems
    assert reading.answer is not None


def test_an_end_beyond_the_clip_is_cut_and_said() -> None:
    reading = read_ave("<event>dog</event><range>-1,12</range>", TEN)
    assert reading.events == (Event("dog", 0, 10),)
    assert reading.problems == ("'dog' from -1 to 12 reaches beyond the clip and was cut to its length",)


@pytest.mark.parametrize(
    ("canvas", "start_s", "end_s"),
    [
        (Canvas(duration_s=60.0, second_s=6.0), 12.0, 60.0),
        (Canvas(duration_s=9.6), 2.0, 9.6),
        (Canvas(duration_s=25.0, second_s=2.5), 5.0, 25.0),
    ],
    ids=["minute", "shorter-than-said", "halves"],
)
def test_model_seconds_become_true_seconds(canvas: Canvas, start_s: float, end_s: float) -> None:
    reading = read_avvp("<audio_event>dog,(2 10)</audio_event>", canvas)
    assert reading.events == (Event("dog", start_s, end_s, "audio"),)
    assert reading.problems == ()


TAGS = ["<answer>", "</answer>", "<event>", "</event>", "<range>", "</range>", "<visual>", "</visual>", "<audio_event>"]
BITS = [
    *TAGS,
    "</audio_event>",
    "dog",
    "and ",
    "none",
    ",",
    ";",
    "(0 3)",
    "(",
    ")",
    "0,8",
    "-2",
    "99",
    "<",
    "/",
    ">",
    " ",
    ".",
]
NOISE = st.one_of(st.text(max_size=60), st.lists(st.sampled_from(BITS), max_size=16).map("".join))
CANVASES = st.builds(
    Canvas,
    duration_s=st.floats(0, 20),
    seconds=st.integers(1, 12),
    second_s=st.sampled_from([0.5, 1.0, 3.7]),
)


@pytest.mark.parametrize("task", READERS)
@given(text=NOISE, canvas=CANVASES)
def test_no_text_makes_a_reader_raise(task: str, text: str, canvas: Canvas) -> None:
    reading = READERS[task](text, canvas)
    assert reading.answer is not None
    assert all(0 <= event.start_s < event.end_s <= canvas.duration_s for event in reading.events)


@pytest.mark.parametrize("task", READERS)
@pytest.mark.parametrize("text", ["(1" + " " * 20_000, "so" + "\n" * 20_000, "<" * 5_000, "<event>(1 " * 2_000])
def test_an_endless_text_is_read_at_once(task: str, text: str) -> None:
    assert READERS[task](f"<event> {text}", TEN).answer is not None


@given(text=NOISE)
def test_an_answer_read_and_written_is_read_the_same(text: str) -> None:
    answer = read_answer(text, TEN).answer
    assert answer is not None
    if answer.text:
        assert read_answer(write_answer(answer.text, answer.reasoning), TEN).answer == answer


@given(text=NOISE)
def test_events_read_and_written_are_read_the_same(text: str) -> None:
    together = read_ave(text, TEN).events
    assert set(read_ave(write_ave(together), TEN).events) == set(together)
    parsed = read_avvp(text, TEN).events
    assert set(read_avvp(write_avvp(parsed), TEN).events) == set(parsed)


SPANS = st.tuples(st.integers(0, 9), st.integers(1, 10)).map(sorted).filter(lambda span: span[0] < span[1])


@given(st.lists(st.tuples(st.sampled_from(["dog", "alarm clock"]), SPANS), max_size=4, unique_by=str))
def test_written_events_are_read_back(found: list[tuple[str, tuple[int, int]]]) -> None:
    events = [Event(label, start, end) for label, (start, end) in found]
    reading = read_ave(write_ave(events, "Something is seen."), TEN)
    assert set(reading.events) == set(events)
    assert reading.problems == ()
    assert reading.answer is not None
    assert reading.answer.reasoning == "Something is seen."
    parsed = read_avvp(write_avvp(events), TEN)
    assert {(one.label, one.start_s, one.end_s) for one in parsed.events if one.track == "audio"} == {
        (one.label, one.start_s, one.end_s) for one in events
    }
    assert parsed.problems == ()
