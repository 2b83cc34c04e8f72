"""How questions are put: for each template several phrasings in plain English, in the manner of MUSIC-AVQA and freer.

The last phrasing of a template is never used in training: tests ask with it. Slots: `{x}` and `{y}` are names, `{a_x}`
has its article, `{xs}` is the plural, `{noun}` is instrument, object or thing, `{playing}` and `{play}` suit the noun,
`{at_side}` and `{at_other}` are `on the left` and the like. Types and modalities are MUSIC-AVQA's (arXiv 2203.14072,
section 3), and `Open` for questions beyond them, whose answers are lists or times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

Type = Literal["Existential", "Counting", "Location", "Comparative", "Temporal", "Open"]
Modality = Literal["Audio", "Visual", "Audio-Visual"]


@dataclass(frozen=True, slots=True)
class Phrasings:
    """The type and the modality of a template and its phrasings, the held-out one last."""

    type: Type
    modality: Modality
    texts: tuple[str, ...]

    def choose(self, share: float, *, held_out: bool) -> str:
        """A phrasing for a number from 0 to 1, or the held-out one."""
        return self.texts[-1] if held_out else self.texts[int(share * (len(self.texts) - 1))]


_AUDIO: dict[str, Phrasings] = {
    "sound_exists": Phrasings(
        "Existential",
        "Audio",
        (
            "Is there {a_x} sound?",
            "Can you hear {a_x}?",
            "Is {a_x} heard in the video?",
            "Do I hear {a_x} in this clip?",
            "Does {a_x} make a sound?",
            "Is the sound of {a_x} in the audio?",
            "Is {a_x} audible?",
            "Can {a_x} be heard?",
        ),
    ),
    "sounds_count": Phrasings(
        "Counting",
        "Audio",
        (
            "How many different sounds are there?",
            "How many sounds do you hear?",
            "How many kinds of sound are heard throughout the video?",
            "How many {nouns} are heard throughout the video?",
            "How many different {nouns} can be heard?",
            "What is the number of different sounds in the audio?",
            "Count the different sounds.",
            "How many types of {nouns} were heard?",
        ),
    ),
    "louder": Phrasings(
        "Comparative",
        "Audio",
        (
            "Is the {x} louder than the {y}?",
            "Does the {x} sound louder than the {y}?",
            "Is the sound of the {x} louder than that of the {y}?",
            "Comparing the {x} and the {y}, is the {x} louder?",
            "Is the {x} the louder one of the {x} and the {y}?",
            "Is the {y} softer than the {x}?",
            "Do you hear the {x} louder than the {y}?",
        ),
    ),
    "longer": Phrasings(
        "Comparative",
        "Audio",
        (
            "Is the {x} {playing} longer than the {y}?",
            "Does the {x} sound longer than the {y}?",
            "Is the {x} heard for longer than the {y}?",
            "Is the sound of the {x} longer than that of the {y}?",
            "Does the {x} go on for longer than the {y}?",
            "Is the {y} heard for a shorter time than the {x}?",
            "Does the {x} last longer than the {y}?",
        ),
    ),
    "loudest": Phrasings(
        "Comparative",
        "Audio",
        (
            "What is the loudest sound?",
            "What is the loudest {noun}?",
            "Which {noun} is the loudest?",
            "Which sound is louder than all the others?",
            "Which {noun} makes the loudest sound?",
            "What makes the most noise?",
            "Which {noun} sounds loudest?",
        ),
    ),
    "what_heard": Phrasings(
        "Open",
        "Audio",
        (
            "What do you hear?",
            "What can be heard?",
            "Which sounds are in the video?",
            "What sounds are there?",
            "What is that sound?",
            "What is making the noise?",
            "List the sounds.",
            "Which {nouns} do you hear?",
            "Which {nouns} can be heard in the video?",
            "What am I hearing?",
        ),
    ),
    "when_heard": Phrasings(
        "Open",
        "Audio",
        (
            "When is the {x} heard?",
            "When does the {x} sound?",
            "When do you hear the {x}?",
            "From when to when does the {x} sound?",
            "At what time is there {a_x} sound?",
            "During which seconds is the {x} heard?",
            "When can the {x} be heard?",
        ),
    ),
    "softest": Phrasings(
        "Comparative",
        "Audio",
        (
            "What is the softest sound?",
            "What is the quietest sound?",
            "Which {noun} is the quietest one that you can hear?",
            "Which sound is softer than all the others?",
            "Which {noun} makes the softest sound?",
            "Of what is heard, what is the quietest?",
        ),
    ),
}

_VISUAL: dict[str, Phrasings] = {
    "seen_exists": Phrasings(
        "Existential",
        "Visual",
        (
            "Is there {a_x} in the entire video?",
            "Is there {a_x} in the video?",
            "Can you see {a_x}?",
            "Does the video show {a_x}?",
            "Do I see {a_x} in the picture?",
            "Is {a_x} visible?",
            "Does {a_x} appear in the video?",
            "Can {a_x} be seen in the clip?",
        ),
    ),
    "both_seen": Phrasings(
        "Existential",
        "Visual",
        (
            "Are there {xs} and {ys} in the video?",
            "Are both {a_x} and {a_y} in the video?",
            "Can you see both {a_x} and {a_y}?",
            "Does the video show {a_x} as well as {a_y}?",
            "Are {a_x} and {a_y} visible?",
            "Do both {a_x} and {a_y} appear in the video?",
        ),
    ),
    "things_count": Phrasings(
        "Counting",
        "Visual",
        (
            "How many things are in the video?",
            "How many objects are there in the entire video?",
            "How many objects can you see in total?",
            "How many things does the video show?",
            "What is the total number of things in the picture?",
            "How many objects appear in the video altogether?",
        ),
    ),
    "kinds_count": Phrasings(
        "Counting",
        "Visual",
        (
            "How many kinds of things are in the video?",
            "How many types of objects appeared in the entire video?",
            "How many different kinds of objects can you see?",
            "How many different types of things are visible?",
            "What is the number of different kinds of things in the picture?",
            "How many kinds of objects does the video show?",
        ),
    ),
    "count_of": Phrasings(
        "Counting",
        "Visual",
        (
            "How many {xs} are in the entire video?",
            "How many {xs} are in the video?",
            "How many {xs} can you see?",
            "How many {xs} does the video show?",
            "What is the number of {xs} in the picture?",
            "Count the {xs}.",
            "How many {xs} are visible?",
        ),
    ),
    "where": Phrasings(
        "Location",
        "Visual",
        (
            "Where is the {x}?",
            "Where is the {x} in the video?",
            "On which side of the picture is the {x}?",
            "Is the {x} on the left, in the middle or on the right?",
            "Where do you see the {x}?",
            "What is the position of the {x}?",
            "In which part of the video is the {x}?",
        ),
    ),
    "what_at": Phrasings(
        "Location",
        "Visual",
        (
            "What is {at_side} of the video?",
            "What can you see {at_side}?",
            "Which object is {at_side}?",
            "What kind of object is {at_side}?",
            "What stands {at_side} of the picture?",
            "Which thing is seen {at_side}?",
        ),
    ),
    "left_of": Phrasings(
        "Location",
        "Visual",
        (
            "Is the {x} to the left of the {y}?",
            "Is the {x} on the left of the {y}?",
            "Is the {y} to the right of the {x}?",
            "Does the {x} stand to the left of the {y}?",
            "Is the {y} on the right side of the {x}?",
            "Is the {x} further left than the {y}?",
        ),
    ),
    "what_seen": Phrasings(
        "Open",
        "Visual",
        (
            "What do you see?",
            "What can be seen?",
            "What is in the video?",
            "Which objects are in the video?",
            "What does the video show?",
            "What is in the picture?",
            "List the things that are visible.",
            "Which {nouns} do you see?",
            "What can you see in the clip?",
        ),
    ),
    "when_seen": Phrasings(
        "Open",
        "Visual",
        (
            "When is the {x} seen?",
            "When is the {x} visible?",
            "When do you see the {x}?",
            "From when to when is the {x} in the picture?",
            "At what time does the video show the {x}?",
            "During which seconds is the {x} visible?",
            "When can the {x} be seen?",
        ),
    ),
    "appears_first": Phrasings(
        "Temporal",
        "Visual",
        (
            "What appears first?",
            "What is seen first?",
            "Which object appears first in the video?",
            "Which thing is the first to be seen?",
            "What is the first thing that the video shows?",
            "Which object comes into the picture first?",
        ),
    ),
}

_BOTH: dict[str, Phrasings] = {
    "always_playing": Phrasings(
        "Existential",
        "Audio-Visual",
        (
            "Is the {x} in the video always {playing}?",
            "Is the {x} always {playing}?",
            "Is the {x} heard the whole time?",
            "Does the {x} {play} from beginning to end?",
            "Does the {x} {play} all the time?",
            "Is the {x} heard during the entire video?",
            "Does the {x} {play} throughout the video?",
        ),
    ),
    "always_silent": Phrasings(
        "Existential",
        "Audio-Visual",
        (
            "Is the {x} in the video always silent?",
            "Is the {x} always silent?",
            "Does the {x} stay silent?",
            "Is the {x} quiet the whole time?",
            "Is it true that the {x} makes no sound?",
            "Does the {x} make no sound at all?",
            "Is the {x} silent during the entire video?",
        ),
    ),
    "offscreen": Phrasings(
        "Existential",
        "Audio-Visual",
        (
            "Is there a voiceover?",
            "Is there an off-screen sound?",
            "Is there a sound from outside the picture?",
            "Do you hear something that is not seen?",
            "Is anything heard that the video does not show?",
            "Does a sound come from off screen?",
            "Is there a sound whose source is never seen?",
        ),
    ),
    "source_visible": Phrasings(
        "Existential",
        "Audio-Visual",
        (
            "Is the {x} sound from the {x} in the video?",
            "Can you see the {x} that is heard?",
            "Is the {x} that sounds visible?",
            "Does the video show the {x} that you hear?",
            "Is the source of the {x} sound in the picture?",
            "Can the {x} that makes the sound be seen?",
        ),
    ),
    "kinds_sounding": Phrasings(
        "Counting",
        "Audio-Visual",
        (
            "How many {nouns} are sounding in the video?",
            "How many types of {nouns} sound in the video?",
            "How many kinds of visible {nouns} make a sound?",
            "How many kinds of {nouns} can be both seen and heard?",
            "How many of the kinds of {nouns} in the picture can be heard?",
            "How many kinds of {nouns} that you see also sound?",
        ),
    ),
    "sounding_count": Phrasings(
        "Counting",
        "Audio-Visual",
        (
            "How many sounding {xs} are in the video?",
            "How many sounding {xs} can you see?",
            "How many {xs} in the video make a sound?",
            "How many {xs} sound in the video?",
            "How many of the {xs} in the picture can be heard?",
            "How many visible {xs} are heard?",
        ),
    ),
    "silent_count": Phrasings(
        "Counting",
        "Audio-Visual",
        (
            "How many objects in the video did not sound from beginning to end?",
            "How many things in the video never make a sound?",
            "How many silent things are in the video?",
            "How many visible objects stay silent?",
            "How many of the things that you see are never heard?",
            "How many objects in the picture make no sound?",
        ),
    ),
    "where_loudest": Phrasings(
        "Location",
        "Audio-Visual",
        (
            "Where is the loudest {noun}?",
            "Where is the loudest sound from?",
            "On which side is the {noun} that sounds loudest?",
            "Where does the loudest sound come from?",
            "Where do you see the loudest {noun}?",
            "Where is the {noun} with the loudest sound?",
        ),
    ),
    "where_first": Phrasings(
        "Location",
        "Audio-Visual",
        (
            "Where is the first sounding {noun}?",
            "Where is the {noun} that sounds first?",
            "Where does the first sound come from?",
            "On which side is the {noun} that is heard first?",
            "Where do you see the {noun} that starts first?",
            "Where is the {noun} that makes the first sound?",
        ),
    ),
    "louder_side": Phrasings(
        "Comparative",
        "Audio-Visual",
        (
            "Is the {noun} {at_side} louder than the {noun} {at_other}?",
            "Is the sound {at_side} louder than the sound {at_other}?",
            "Does the {noun} {at_side} sound louder than the one {at_other}?",
            "Is the sounding {noun} {at_side} louder than the one {at_other}?",
            "Is what you hear {at_side} louder than what you hear {at_other}?",
            "Is the {noun} {at_side} the louder one, compared with the {noun} {at_other}?",
        ),
    ),
    "seen_longer": Phrasings(
        "Comparative",
        "Audio-Visual",
        (
            "Is the {x} seen for longer than it is heard?",
            "Is the {x} visible longer than it is audible?",
            "Can the {x} be seen for longer than it can be heard?",
            "Do you see the {x} for a longer time than you hear it?",
            "Is the {x} heard for a shorter time than it is seen?",
            "Is the {x} in the picture for longer than it sounds?",
        ),
    ),
    "sounds_first": Phrasings(
        "Temporal",
        "Audio-Visual",
        (
            "Which {noun} sounds first?",
            "Which {noun} makes the sound first?",
            "What is the first {noun} that comes in?",
            "What is heard first?",
            "Which sound comes first?",
            "What is the first sound?",
            "Which {noun} starts to sound first?",
            "What do you hear first?",
        ),
    ),
    "sounds_last": Phrasings(
        "Temporal",
        "Audio-Visual",
        (
            "Which {noun} sounds last?",
            "Which {noun} makes the sound last?",
            "What is the last {noun} that comes in?",
            "What is the last sound that starts?",
            "Which sound comes in last?",
            "Which {noun} is the last to start?",
            "Which {noun} starts to sound last?",
        ),
    ),
    "sounds_before": Phrasings(
        "Temporal",
        "Audio-Visual",
        (
            "Does the {x} sound before the {y}?",
            "Is the {x} heard before the {y}?",
            "Does the {x} start before the {y}?",
            "Does the {y} start after the {x}?",
            "Does the {x} come in earlier than the {y}?",
            "Is the {x} the first to sound of the {x} and the {y}?",
            "Does the sound of the {x} begin before that of the {y}?",
        ),
    ),
    "sounds_with": Phrasings(
        "Temporal",
        "Audio-Visual",
        (
            "Which {noun} sounds at the same time as the {x}?",
            "What sounds together with the {x}?",
            "What else is heard while the {x} sounds?",
            "Which other sound do you hear during the {x}?",
            "What can be heard at the same time as the {x}?",
            "Which {noun} is heard together with the {x}?",
        ),
    ),
    "heard_before_seen": Phrasings(
        "Temporal",
        "Audio-Visual",
        (
            "Is the {x} heard before it is seen?",
            "Do you hear the {x} before you see it?",
            "Does the {x} sound before it appears?",
            "Is the {x} audible before it is visible?",
            "Does the {x} appear after it starts to sound?",
            "Can the {x} be heard before it can be seen?",
        ),
    ),
}

PHRASINGS: Mapping[str, Phrasings] = MappingProxyType({**_AUDIO, **_VISUAL, **_BOTH})
