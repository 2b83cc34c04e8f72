"""Claims of explanations, read out of plain sentences."""

from __future__ import annotations

import pytest

from crab_core.tasks.claims import Claim, claims, mentions, tells_of_sound


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param(
            "The piano is seen from 0 to 10 and heard from 0 to 5.",
            [Claim("piano", "visual", 0, 10), Claim("piano", "audio", 0, 5)],
            id="one thing, both senses",
        ),
        pytest.param(
            "I hear a bell from 0 to 4 and a dog from 2 to 5.",
            [Claim("bell", "audio", 0, 4), Claim("dog", "audio", 2, 5)],
            id="two things, one sense",
        ),
        pytest.param(
            "A church bell can be heard between 1.5s and 3 seconds",
            [Claim("church bell", "audio", 1.5, 3)],
            id="two words, halves",
        ),
        pytest.param("Speech is heard from second 2 until second 4", [Claim("speech", "audio", 2, 4)], id="asked for"),
        pytest.param("The dog is never heard from 0 to 4.", [], id="denied"),
        pytest.param("I hear nothing from 0 to 4.", [], id="nothing"),
        pytest.param("The dog is big from 0 to 4.", [], id="no sense"),
        pytest.param("It is heard from 0 to 4.", [], id="no name"),
        pytest.param("The dog is heard from 4 to 4.", [], id="no length"),
        pytest.param("The dog sleeps. It is heard from 1 to 2.", [], id="sentences stand alone"),
        pytest.param("", [], id="empty"),
    ],
)
def test_claims(text: str, found: list[Claim]) -> None:
    assert claims(text, ["speech"]) == found


@pytest.mark.parametrize(
    ("text", "name", "yes"),
    [
        ("Two dogs bark", "dog", True),
        ("a Church  Bell", "church bell", True),
        ("a hotdog", "dog", False),
        ("a c++ song", "c++", True),
        ("anything", "", False),
    ],
)
def test_mentions(text: str, name: str, yes: bool) -> None:
    assert mentions(text, name) is yes


@pytest.mark.parametrize(
    ("text", "yes"),
    [("I hear a bell.", True), ("I hear nothing. I see a dog.", False), ("The dog is not heard.", False), ("", False)],
)
def test_telling_of_sound(text: str, yes: bool) -> None:
    assert tells_of_sound(text) is yes


def test_long_texts_take_no_time() -> None:
    assert claims("the " * 20_000 + "from " * 20_000) == []
