"""Writes the tables of keys in docs/training.md from the dataclasses of a run: python docs/training_keys.py

A key without a meaning here, or a meaning without a key, stops it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from between_markers import put_between, rewrite

from crab_core.train.settings import FileData, Stage, TrainSettings, WorldData

PAGE = Path(__file__).with_name("training.md")

RUN: Mapping[str, str] = {
    "name": "what the model is called in answers and in its header",
    "network": "the numbers of a new network: `visual`, `audio`, `vl`, `al`, `llm`, `media`, `time_tags`, `mask`",
    "model": "the model to start from in place of `network`: a name, or a folder of the families crab and crab-plus",
    "stages": "what is learnt, in order; see below",
    "data": "which clips: generated ones for a `network`, files for a `model`; see below",
    "vocabulary": "tokens of the tokenizer, which is learnt from the world's own texts",
    "note": "one sentence that is told with each answer of the model",
    "tasks": "the tasks that the header says the model was trained on",
    "profile": "the wording that the header says the model learnt; `moment` for tasks about single pictures",
    "seed": "of the first weights and of the order of everything",
    "threads": "of torch; 0 leaves torch's own choice",
    "keep": "how many of the last checkpoints `step-N` stay",
    "device": "`auto`, `cpu`, `cuda` or `cuda:N` (`model`)",
    "precision": "`fp32`, `bf16` or `fp16` of computing; what learns is kept in float32 (`model`)",
    "quantize": "`4bit` or `8bit` packs the LLM's linears while an adapter beside them learns (`model`)",
    "checkpointing": "compute the LLM's layers again in the backward pass: less memory, more time (`model`)",
    "shard": "share the LLM's layers out over the processes; `--shard` sets it (`model`)",
    "track": "`tensorboard`, `wandb`: also write the curve there, if they are installed",
}
DATA: Mapping[str, str] = {
    "clips": "how many clips of the split `train` are rendered",
    "seed": "other clips for another number",
    "short_share": "share of clips that last 4 to 9 s in place of 10 s",
    "processes": "that render; 0 is one for each core",
}
FILES: Mapping[str, str] = {
    "files": "JSON lines of [our own schema](data.md), or the `labels.jsonl` of `crab data synth`",
    "av_uie": "files of AV-UIE by task: `{ave: train_samples.json}`",
    "root": "the folder that media are relative to; each file's own folder if none",
    "split": "only lines of this split",
    "workers": "threads that decode media two steps ahead; 0 decodes when a step needs it",
    "cache": "folder for what frozen encoders gave for a clip; `--cache DIR` sets it",
    "most_skipped": "share of clips that may be unusable before the run ends",
}
STAGE: Mapping[str, str] = {
    "name": "also the folder in which the model lies after the stage",
    "kind": "`visual`, `audio`, `masks` or `language`; see above",
    "steps": "length of the schedule: the rate falls to 0 along half a cosine",
    "batch": "frames, seconds of sound, pictures, or clips, by kind",
    "rate": "highest learning rate",
    "optimizer": "`adamw`, or `muon` for the matrices of the LLM and its adapter and AdamW for the rest; "
    "`adamw8bit` and `paged-adamw8bit` of bitsandbytes (`model`)",
    "matrix_rate": "highest learning rate of Muon",
    "warmup": "steps until it is reached, at most a fifth of `steps`",
    "weight_decay": "of AdamW",
    "train": "the parts that learn, at least one of `visual_encoder`, `audio_encoder`, `vl_projector`, `al_projector`, "
    "`tags`, `llm`, `tables` (of tokens, in the LLM), `ilora`, `masks`",
    "samples": "texts that share one clip of a batch (`language`)",
    "tasks": "how often each task is drawn, as weights; none is avqa 4, ave 1, avvp 1, avcap 0.5 for generated clips, "
    "and for files all that they teach, each row as often as another (`language`)",
    "templates": "how often questions, or expressions (`ref_name`, `ref_place`, …), of a kind are drawn, as weights; "
    "1 for those not named (`network`, `language`)",
    "reasoning": "share of questions that are answered with their reasons first (`language`)",
    "reading": "share of rows that have the facts of a clip in words in place of its media (`language`)",
    "mask_weight": "what the loss of masks counts beside that of texts (`language`, with `masks` in `train`)",
    "sketch_weight": "what it counts that the states of mask tokens tell a sketch of the mask; 0 teaches none "
    "(`network`, `language`)",
    "answer_weight": "how often a token of an answer, of the sentence that decides it, or of a number, place or level "
    "in the text counts (files: the answer)",
    "lookup_weight": "what the loss of facts at names counts beside that of texts; 0 teaches none "
    "(`network`, `language`)",
    "lookup_layer": "after how many of the LLM's layers the facts are read (`network`, `language`)",
    "lookups": "names on their own behind the media of each row, first of what is there (`network`, `language`)",
    "change_weight": "what it costs that the first `lookup_layer` layers change a state: its squared change over its "
    "squared length (`network`, `language`, with `lookup_weight`)",
    "recall_weight": "what it counts that a state holds the facts of the last name where a number, place or level of "
    "it is told next; 0 teaches none (`network`, `language`, with `lookup_weight`)",
    "recall_layer": "after how many of the LLM's layers it must hold them (`network`, `language`)",
    "deepen": "so many new layers for the LLM before the stage begins, which pass on what they get until they learn "
    "(`network`, `language`, before the first `ilora`)",
    "deepen_above": "above how many of the layers that it has they go; 0 puts them below all (`network`, `language`)",
    "ilora": "`heads`, `rank`, `alpha`, `dropout`, `per_head_dropout` of the adapter, added before the stage if there "
    "is none yet",
    "places": "also teach each visual query which cell of the frame it reads and the box of what is there (`visual`)",
    "until": "end after so many steps, before the schedule does",
    "save_every": "steps between checkpoints",
    "accumulate": "in how many pieces a batch is computed: less memory, the same step",
    "group_lengths": "rows of about the same length share a batch (`model`)",
    "match_heads": "when the stage ends, put the heads of all layers under one number by what the tasks give them: no "
    "answer changes, and views of heads say more (`network`, `language`)",
    "stills": "rows about single pictures in every step, beside `batch` rows about whole clips; 0 leaves it to the "
    "weights of the tasks which rows are about pictures (`network`, `language`)",
}
TABLES: Mapping[str, tuple[type, Mapping[str, str]]] = {
    "The run": (TrainSettings, RUN),
    "`data` of a `network`": (WorldData, DATA),
    "`data` of a `model`": (FileData, FILES),
    "Each of `stages`": (Stage, STAGE),
}


def filled(page: str) -> str:
    """The page with the tables between the markers; raises ValueError if it has no markers."""
    text = "\n".join(f"### {title}\n\n{table(kind, meanings)}" for title, (kind, meanings) in TABLES.items())
    return put_between(page, "keys", text)


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
    rewrite(PAGE, filled)
