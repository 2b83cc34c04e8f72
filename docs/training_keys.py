"""Writes the tables of keys in docs/training.md from the dataclasses of a run: python docs/training_keys.py

A key without a meaning here, or a meaning without a key, stops it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path

from crab_core.train.settings import Stage, TrainSettings, WorldData

PAGE = Path(__file__).with_name("training.md")
BETWEEN = re.compile(r"(<!-- keys -->\n).*?(<!-- /keys -->)", re.DOTALL)

RUN: Mapping[str, str] = {
    "name": "what the model is called in answers and in its header",
    "network": "the numbers of the network: `visual`, `audio`, `vl`, `al`, `llm`, `media`, `time_tags`, `mask`",
    "stages": "what is learnt, in order; see below",
    "data": "which clips; see below",
    "vocabulary": "tokens of the tokenizer, which is learnt from the world's own texts",
    "note": "one sentence that is told with each answer of the model",
    "tasks": "the tasks that the header says the model was trained on",
    "profile": "the wording that the header says the model learnt; `moment` for tasks about single pictures",
    "seed": "of the first weights and of the order of everything",
    "threads": "of torch; 0 leaves torch's own choice",
    "keep": "how many of the last checkpoints `step-N` stay",
}
DATA: Mapping[str, str] = {
    "clips": "how many clips of the split `train` are rendered",
    "seed": "other clips for another number",
    "short_share": "share of clips that last 4 to 9 s in place of 10 s",
    "processes": "that render; 0 is one for each core",
}
STAGE: Mapping[str, str] = {
    "name": "also the folder in which the model lies after the stage",
    "kind": "`visual`, `audio` or `language`; see above",
    "steps": "length of the schedule: the rate falls to 0 along half a cosine",
    "batch": "frames, seconds of sound, or clips, by kind",
    "rate": "highest learning rate",
    "optimizer": "`adamw`, or `muon` for the matrices of the LLM and its adapter and AdamW for the rest",
    "matrix_rate": "highest learning rate of Muon",
    "warmup": "steps until it is reached, at most a fifth of `steps`",
    "weight_decay": "of AdamW",
    "train": "the parts that learn, at least one of `visual_encoder`, `audio_encoder`, `vl_projector`, `al_projector`, "
    "`tags`, `llm`, `tables` (of tokens, in the LLM), `ilora`, `masks`",
    "samples": "texts that share one clip of a batch (`language`)",
    "tasks": "how often each task is drawn, as weights (`language`)",
    "reasoning": "share of questions that are answered with their reasons first (`language`)",
    "reading": "share of rows that have the facts of a clip in words in place of its media (`language`)",
    "mask_weight": "what the loss of masks counts beside that of texts (`language`, with `masks` in `train`)",
    "answer_weight": "how often a token of an answer, or of the sentence that decides it, counts (`language`)",
    "ilora": "`heads`, `rank`, `alpha`, `dropout` of the adapter, added before the stage if there is none yet",
    "places": "also teach each visual query which cell of the frame it reads and the box of what is there (`visual`)",
    "until": "end after so many steps, before the schedule does",
    "save_every": "steps between checkpoints",
}
TABLES: Mapping[str, tuple[type, Mapping[str, str]]] = {
    "The run": (TrainSettings, RUN),
    "`data`": (WorldData, DATA),
    "Each of `stages`": (Stage, STAGE),
}


def filled(page: str) -> str:
    """The page with the tables between the markers; raises ValueError if it has no markers."""
    text = "\n".join(f"### {title}\n\n{table(kind, meanings)}" for title, (kind, meanings) in TABLES.items())
    done, places = BETWEEN.subn(lambda found: f"{found[1]}\n{text}\n{found[2]}", page)
    if places != 1:
        raise ValueError(f"the page needs one pair of keys markers, and has {places}")
    return done


def table(kind: type, meanings: Mapping[str, str]) -> str:
    """Key, default and meaning of every field of a dataclass; raises ValueError if keys and meanings differ."""
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if fields.keys() != meanings.keys():
        raise ValueError(
            f"keys of {kind.__name__} without a meaning, or the reverse: {fields.keys() ^ meanings.keys()}"
        )
    rows = [f"| `{name}` | {default(field)} | {meanings[name]} |" for name, field in fields.items()]
    return "\n".join(["| key | default | meaning |", "| --- | --- | --- |", *rows, ""])


def default(field: dataclasses.Field[object]) -> str:
    """The default as YAML shows it; `required` if there is none."""
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
        return "see below" if dataclasses.is_dataclass(value) else shown(value)
    return "required" if field.default is dataclasses.MISSING else shown(field.default)


def shown(value: object) -> str:
    """`none` for None, `[a, b]` for a tuple, `{a: 1.0}` for a mapping, else the value itself."""
    if value is None or value in ("", ()):
        return "none"
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {one}" for key, one in value.items()) + "}`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
