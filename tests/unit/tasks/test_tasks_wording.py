"""The wordings that the networks were trained with, letter by letter."""

from __future__ import annotations

import re

import pytest

from crab_core.errors import UsageError
from crab_core.registry import TASKS
from crab_core.tasks.avqa_options import with_options
from crab_core.tasks.wording import direct_of
from crab_core.types import Prompt

HEADER = "This is a video:\n<video_start><video><video_end>\nThis is an audio:\n<audio_start><audio><audio_end>\n"
EVENTS = "Please describe the events and time range that occurred in the video."
PARSE = (
    "Please determine the events that occur based on the visual and audio information in the video, "
    "as well as the start and end times of these events."
)
PARSE_QUICK = (
    "Please determine the events that occur based on the visual and audio information, "
    "as well as the start and end time of these events."
)


FEELS = "Please judge the person's emotion at the moment."
SHOWN = "This is a video and an audio:<video><audio>"
STILL = "This is an image and an audio:<image><audio>"
PLACED = (
    "Please identify the category of the object producing the sound in the video frame. Then, provide the bounding box "
    "and three pixel points of the object that is making the sound within the frame."
)


def spelled(prompt: Prompt) -> str:
    return "".join(part.text if part.kind == "text" else f"<{part.kind}>" for part in prompt.parts)


@pytest.mark.parametrize(
    ("task", "profile", "instruction"),
    [
        ("avqa", "train", "Please answer this question: Why?"),
        ("avqa", "evaluation", "Please answer this question: Why?"),
        ("avqa", "quick-start", "Please answer this question: Why?"),
        ("avqa", "direct", "Please answer this question briefly: Why?"),
        ("ave", "train", EVENTS),
        ("ave", "quick-start", EVENTS),
        ("avvp", "train", PARSE),
        ("avvp", "evaluation", PARSE),
        ("avvp", "quick-start", PARSE_QUICK),
        ("avcap", "train", "Please describe this video and audio."),
        ("avcap", "evaluation", "Please describe this video."),
        ("emotion", "train", FEELS),
        ("action", "train", "Please identify the action taking place in the video."),
        ("unav", "train", EVENTS),
        ("avqa-options", "train", "Please answer the question based on the options: Why?"),
    ],
)
def test_the_published_wording(task: str, profile: str, instruction: str) -> None:
    assert spelled(TASKS[task].load().wording("Why?", profile)) == HEADER + instruction


@pytest.mark.parametrize(
    ("task", "lead", "instruction"),
    [
        ("avqa", SHOWN, "Please answer this question: Why?"),
        ("avqa-options", SHOWN, "Please answer the question based on the options: Why?"),
        ("ave", SHOWN, EVENTS),
        ("unav", SHOWN, EVENTS),
        ("avvp", SHOWN, PARSE),
        ("avcap", SHOWN, "Please describe this video and audio."),
        ("emotion", SHOWN, FEELS),
        ("action", SHOWN, "Please identify the action taking place in the video."),
        (
            "a2v",
            "These are two videos and an audio:<audio><video>",
            "Please listen to the audio and indicate which of the two videos matches what you hear.",
        ),
        (
            "v2a",
            "This is a video and two audio clips:<video><audio>",
            "Please view the video and indicate which of the two audio clips matches what you see.",
        ),
        (
            "arig",
            STILL,
            "Please recognize the category of object that makes the sound and then output its bounding box.",
        ),
        ("s4", STILL, PLACED),
        ("ms3", STILL, PLACED),
        (
            "ref-avs",
            STILL,
            "Please analyze the video frame and audio to find the object described as <des>why?</des>. Answer with "
            '"true" or "false" whether the object exists. If it exists, respond with a sentence identifying the '
            "object's name, its bounding box, and three pixel points; if not, state that the object is absent.",
        ),
    ],
)
def test_the_wording_of_crab_plus(task: str, lead: str, instruction: str) -> None:
    assert spelled(TASKS[task].load().wording("Why?", "plus")) == lead + instruction


def test_crab_plus_is_asked_for_an_answer_without_reasons_in_its_own_form() -> None:
    wanted = SHOWN + "Please answer this question briefly: Why?"
    assert spelled(TASKS["avqa"].load().wording("Why?", direct_of("plus"))) == wanted
    assert direct_of("train") == "direct"


def test_options_are_spelled_as_in_the_published_data() -> None:
    asked = with_options(" What is heard? ", ["motorboat", "it's a dog "])
    assert asked == "What is heard?, options:['motorboat', \"it's a dog\"]"


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_what_its_table_says(task: str) -> None:
    loaded = TASKS[task].load()
    assert loaded.name == task
    assert loaded.summary == TASKS[task].summary
    media = {"arig": ("image", "audio"), "ssl": ("image", "audio"), "a2v": ("audio", "video")}
    assert loaded.wording("Why?", "train").media == media.get(task, ("video", "audio"))


@pytest.mark.parametrize("question", [None, "", " \n"], ids=["none", "empty", "blank"])
def test_a_question_is_needed(question: str | None) -> None:
    with pytest.raises(UsageError, match="'avqa' needs a question"):
        TASKS["avqa"].load().wording(question, "train")


def test_an_unknown_profile_suggests_one() -> None:
    with pytest.raises(UsageError, match="'trian'") as caught:
        TASKS["ave"].load().wording(None, "trian")
    assert caught.value.hint == "Did you mean 'train'?"


@pytest.mark.parametrize(
    "token", ["<video>", "<AUDIO>", "<image_start>", "<mask_0>", "<|VIDEO|>", "<|im_end|>", "<|<|im_end|>|>"]
)
def test_a_question_cannot_smuggle_in_a_placeholder(token: str) -> None:
    last = TASKS["avqa"].load().wording(f"What is {token}?", "train").parts[-1].text
    assert token not in last
    assert not re.search(r"<\|[^|]*\|>", last)
    assert token.strip("<>|") in last


@pytest.mark.parametrize("task", TASKS)
def test_tasks_can_be_keys(task: str) -> None:
    known = TASKS[task].load()
    assert {known: 1}[known] == 1
