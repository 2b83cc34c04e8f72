"""Everything that is found by name: one static table of strings a kind, so that listing imports nothing.

A new family, task or writer is one new file and one line here.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from crab_core.errors import UsageError


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a thing is (`module:attribute`) and what it is, in one line."""

    target: str
    summary: str
    several_clips: bool = False  # a family whose networks can be shown several clips at once

    def load(self) -> Any:
        """The attribute, importing its module now."""
        module, _, attribute = self.target.partition(":")
        return getattr(importlib.import_module(module), attribute)


FAMILIES: Mapping[str, Entry] = {
    "crab": Entry("crab_core.families.crab:FAMILY", "visual and audio encoders, two Q-Formers, a Llama with I-LoRA"),
    "crab-plus": Entry(
        "crab_core.families.crab_plus:FAMILY", "Qwen2.5-Omni's thinker with I-LoRA in all its parts", several_clips=True
    ),
}

TASKS: Mapping[str, Entry] = {
    "avqa": Entry("crab_core.tasks.avqa:TASK", "answer a question about what is seen and heard"),
    "ave": Entry("crab_core.tasks.ave:TASK", "the event that is both seen and heard, and when"),
    "avvp": Entry("crab_core.tasks.avvp:TASK", "every event that is seen and every event that is heard, and when"),
    "arig": Entry("crab_core.tasks.arig:TASK", "the object of a picture that makes the sound, and its box"),
    "ssl": Entry("crab_core.tasks.ssl:TASK", "every object of a picture that makes a sound, with its class and box"),
    "s4": Entry("crab_core.tasks.s4:TASK", "the pixels of the object that makes the sound"),
    "ms3": Entry("crab_core.tasks.ms3:TASK", "the pixels of all objects that make a sound"),
    "avss": Entry("crab_core.tasks.avss:TASK", "the pixels of sounding objects by class"),
    "ref-avs": Entry("crab_core.tasks.ref_avs:TASK", "the pixels of what an expression means, or nothing"),
    "avcap": Entry("crab_core.tasks.avcap:TASK", "describe what is seen and heard"),
    "emotion": Entry("crab_core.tasks.emotion:TASK", "the emotion of the person who is seen or heard"),
    "action": Entry("crab_core.tasks.action:TASK", "the action that takes place"),
    "avqa-options": Entry("crab_core.tasks.avqa_options:TASK", "answer a question by one of several given answers"),
    "a2v": Entry("crab_core.tasks.a2v:TASK", "which of two videos belongs to a sound"),
    "v2a": Entry("crab_core.tasks.v2a:TASK", "which of two sounds belongs to a video"),
    "unav": Entry("crab_core.tasks.unav:TASK", "every event of a long video that is both seen and heard, and when"),
}

WRITERS: Mapping[str, Entry] = {
    "json": Entry("crab_core.render.writers.json:WRITER", "everything, as one JSON document"),
    "csv": Entry("crab_core.render.writers.tables:CSV", "events as a table, commas between columns"),
    "tsv": Entry("crab_core.render.writers.tables:TSV", "events as a table, tabs between columns"),
    "srt": Entry("crab_core.render.writers.subtitles:SRT", "events as SubRip subtitles"),
    "vtt": Entry("crab_core.render.writers.subtitles:VTT", "events as WebVTT subtitles"),
    "audacity": Entry("crab_core.render.writers.audacity:WRITER", "events as an Audacity label track"),
    "elan": Entry("crab_core.render.writers.elan:WRITER", "events as ELAN tiers"),
    "labelstudio": Entry("crab_core.render.writers.labelstudio:WRITER", "events as a Label Studio prediction"),
}

ENGINES: Mapping[str, Entry] = {
    "local": Entry("crab_core.batch.local:start", "this machine, one process or several"),
    "ray": Entry("crab_core.batch.ray_engine:start", "actors of a Ray cluster; needs the extra 'ray'"),
}


MASKERS: Mapping[str, Entry] = {
    "sam2": Entry("crab_core.families.sam2:load", "SAM 2: masks of boxes and points, tracked through a video"),
}


DATA_SETS: Mapping[str, str] = {  # which task is trained and scored on it, for those who ask for the set by name
    **dict.fromkeys(("meld", "mer24", "mer2024", "cremad", "crema-d", "mafw", "dfew"), "emotion"),
    **dict.fromkeys(("ks", "kinetics-sounds", "ucf", "ucf101"), "action"),
    **{"avqa-thu": "avqa-options", "music-avqa": "avqa", "llp": "avvp", "unav100": "unav", "unav-100": "unav"},
}


def lookup(table: Mapping[str, Entry], name: str, *, kind: str) -> Entry:
    """The entry of that name; raises UsageError with the nearest name or the list of all."""
    if name in table:
        return table[name]
    raise UsageError(f"no {kind} is called '{name}'", hint=suggest(name, list(table), kind=kind))


def suggest(name: str, names: list[str], *, kind: str) -> str:
    """`Did you mean 'avqa'?` if a name is near, else the list of all names; for a data set its task."""
    asked = DATA_SETS.get(name.lower().replace("_", "-")) if kind == "task" else None
    if asked in names:
        return f"That is a data set of task '{asked}'."
    near = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"Did you mean '{near[0]}'?" if near else f"Every {kind}: {', '.join(names)}."
