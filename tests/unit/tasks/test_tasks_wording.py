"""The wordings that the networks were trained with, letter by letter."""

from __future__ import annotations

import pytest

from crab_core.errors import UsageError
from crab_core.registry import TASKS
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
    ],
)
def test_the_published_wording(task: str, profile: str, instruction: str) -> None:
    assert spelled(TASKS[task].load().wording("Why?", profile)) == HEADER + instruction


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_what_its_table_says(task: str) -> None:
    loaded = TASKS[task].load()
    assert loaded.name == task
    assert loaded.summary == TASKS[task].summary
    still = task in ("arig", "ssl")
    assert loaded.wording("Why?", "train").media == (("image", "audio") if still else ("video", "audio"))


@pytest.mark.parametrize("question", [None, "", " \n"], ids=["none", "empty", "blank"])
def test_a_question_is_needed(question: str | None) -> None:
    with pytest.raises(UsageError, match="'avqa' needs a question"):
        TASKS["avqa"].load().wording(question, "train")


def test_an_unknown_profile_suggests_one() -> None:
    with pytest.raises(UsageError, match="'trian'") as caught:
        TASKS["ave"].load().wording(None, "trian")
    assert caught.value.hint == "Did you mean 'train'?"


@pytest.mark.parametrize("token", ["<video>", "<AUDIO>", "<image_start>", "<mask_0>"])
def test_a_question_cannot_smuggle_in_a_placeholder(token: str) -> None:
    last = TASKS["avqa"].load().wording(f"What is {token}?", "train").parts[-1].text
    assert token not in last
    assert token.strip("<>") in last


@pytest.mark.parametrize("task", TASKS)
def test_tasks_can_be_keys(task: str) -> None:
    known = TASKS[task].load()
    assert {known: 1}[known] == 1
