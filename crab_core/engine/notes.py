"""What a result says beside its answer: about the sound, the length, the text that could not be read, the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from crab_core.engine.checks import untrained
from crab_core.types import Clip, Medium, Reading, View

if TYPE_CHECKING:
    from crab_core.families._base import Encoded, Generated
    from crab_core.weights.folder import Header

STRANGE: Mapping[Medium, str] = {
    "video": "the pictures look unlike those that the model was trained on: take the answers as guesses",
}


def notes_of(
    header: Header, task: str, view: View, clip: Clip, encoded: Encoded, generated: Generated, reading: Reading
) -> tuple[str, ...]:
    """Every note of a result in reading order: the file, its length, the text, the model. None comes twice."""
    notes = [*clip.notes, *_length(view, clip), *_text(generated), *reading.problems]
    if header.tasks and task not in header.tasks:
        notes.append(untrained(header, task))
    notes += [STRANGE[medium] for medium, share in encoded.strangeness.items() if share > 1]
    notes += [header.note] if header.note else []
    return tuple(dict.fromkeys(notes))


def _length(view: View, clip: Clip) -> list[str]:
    if view.second_s <= 1.0:
        return []
    places = len(view.frame_times_s) or len(view.sound_windows_s)
    return [
        f"the clip lasts {clip.duration_s:.0f} s and the model knows {places} s: "
        f"it was sampled at {places} places, {view.second_s:.1f} s apart"
    ]


def _text(generated: Generated) -> list[str]:
    if generated.stopped == "eos":
        return []
    cure = "raise --max-new-tokens"
    if generated.stopped == "positions":
        cure = "the model has no more positions, a shorter question leaves more"
    return [f"the text was cut after {len(generated.token_ids)} tokens: {cure}"]
