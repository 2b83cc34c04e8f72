"""How a task is put to the model: the headers that show its media, and which profile words what.

Source of the published wordings: the training (T), evaluation (E) and quick-start (Q) data sets of the Crab release
(arXiv 2503.13068), whose start and end tokens are ordinary text; and for the profile `plus` those of Crab+ (arXiv
2603.04128), which names the media in one line and leaves such tokens to the family. The media themselves are parts of
their own. Three profiles are ours: `moment` shows only the picture and its own second where a task is about a picture,
as quick-start words it, and `direct` and `plus-direct` ask for an answer without reasoning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from crab_core.errors import UsageError
from crab_core.registry import suggest
from crab_core.types import Medium, Part, Prompt

TRAIN, EVALUATION, QUICK_START = "train", "evaluation", "quick-start"
MOMENT, DIRECT = "moment", "direct"
PLUS, PLUS_DIRECT = "plus", "plus-direct"
PROFILES = (TRAIN, EVALUATION, QUICK_START, MOMENT, DIRECT, PLUS, PLUS_DIRECT)
VIDEO_AND_AUDIO, IMAGE_AND_AUDIO = "This is a video and an audio:", "This is an image and an audio:"

_TOKEN = re.compile(
    r"<(/?s|unk|(?:image|video|audio)(?:_start|_end)?|mask_(?:start|end|[0-5])|second)>|<\|([^|<>]*)\|>", re.IGNORECASE
)


def of_video(instruction: str, profile: str = TRAIN) -> Prompt:
    """The prompt that shows a video, plays its sound, then says the instruction.

    >>> [part.kind for part in of_video("Please describe this video.").parts]
    ['text', 'video', 'text', 'audio', 'text']
    """
    if is_plus(profile):
        return in_order(VIDEO_AND_AUDIO, ("video", "audio"), instruction)
    return _shown("video", instruction)


def of_image(instruction: str, profile: str = TRAIN) -> Prompt:
    """The prompt that shows a picture, plays its sound, then says the instruction."""
    if is_plus(profile):
        return in_order(IMAGE_AND_AUDIO, ("image", "audio"), instruction)
    return _shown("image", instruction)


def in_order(lead: str, media: Sequence[Medium], instruction: str) -> Prompt:
    """The prompt that names the media in one line, gives them in this order, then says the instruction."""
    return Prompt((Part("text", lead), *(Part(kind) for kind in media), Part("text", instruction)))


def is_plus(profile: str) -> bool:
    """True for the profiles of models that were trained like Crab+."""
    return profile in (PLUS, PLUS_DIRECT)


def direct_of(profile: str) -> str:
    """The profile that asks a model of this profile for an answer without reasoning."""
    return PLUS_DIRECT if is_plus(profile) else DIRECT


def of_video_and_image(instruction: str) -> Prompt:
    """The prompt that shows a video, plays its sound, shows one of its pictures, then says the instruction."""
    *before, last = _shown("video", "").parts
    picture = f"{last.text}This is an image:\n<image_start>"
    return Prompt((*before, Part("text", picture), Part("image"), Part("text", f"<image_end>\n{instruction}")))


def _shown(medium: Literal["video", "image"], instruction: str) -> Prompt:
    article = {"video": "a video", "image": "an image"}[medium]
    return Prompt(
        (
            Part("text", f"This is {article}:\n<{medium}_start>"),
            Part(medium),
            Part("text", f"<{medium}_end>\nThis is an audio:\n<audio_start>"),
            Part("audio"),
            Part("text", f"<audio_end>\n{instruction}"),
        )
    )


def said_by_plus(text: str) -> Mapping[str, str]:
    """The texts of a task that only Crab+ words: every profile says it so."""
    return {TRAIN: text}


def of_profile(texts: Mapping[str, str], profile: str) -> str:
    """The text of a profile; a profile that words the task like training may be absent from `texts`.

    Raises UsageError for an unknown profile.
    """
    if profile not in PROFILES:
        hint = suggest(profile, list(PROFILES), kind="wording profile")
        raise UsageError(f"no wording profile is called '{profile}'", hint=hint)
    return texts.get(profile, texts[TRAIN])


def plain(question: str) -> str:
    """The user's words without blanks around them and with the network's own tokens defused: `<video>` is `video`.

    A placeholder in a question would otherwise ask for a second video.
    """
    before = None
    while before != question:  # what is left may be a token again
        before, question = question, _TOKEN.sub(lambda token: token[1] or token[2] or "", question)
    return question.strip()
