"""The arms, sizes and claims of the ablation, as data; benchmarks/ablation.md says them in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MINI = Path(__file__).parents[1] / "crab_core/families/assets/mini"
START, CAPTIONS = "senses", "captions"
BASE_STAGES = (START, CAPTIONS)  # the first is not trained but made: mini's senses and a new LLM
ILORA = {"heads": 3, "rank": 8, "alpha": 16.0, "dropout": 0.0}
LORA = {"heads": 1, "rank": 18, "alpha": 36.0, "dropout": 0.0}  # as many parameters that count, the same alpha / rank
EVERY = 1e6  # a weight of a task with one text a clip: it is in every row
QUESTIONS = 4


@dataclass(frozen=True)
class Part:
    """One training of an arm: the tasks' weights and texts a row, and the tasks that its model is asked."""

    name: str
    tasks: Mapping[str, float]
    samples: int
    asked: tuple[str, ...]


JOINT = Part("joint", {"avqa": 4.0, "ave": EVERY, "avvp": EVERY}, QUESTIONS + 2, ("avqa", "ave", "avvp"))
APART = (
    Part("avqa", {"avqa": 1.0}, QUESTIONS, ("avqa",)),
    Part("ave", {"ave": 1.0}, 1, ("ave",)),
    Part("avvp", {"avvp": 1.0}, 1, ("avvp",)),
)


@dataclass(frozen=True)
class Arm:
    """An arm: its adapter, how it is trained, and the share of questions with explicit reasoning."""

    name: str
    ilora: Mapping[str, Any]
    parts: tuple[Part, ...] = (JOINT,)
    reasoning: float = 1.0


ARMS = (
    Arm("ilora-joint", ILORA),
    Arm("lora-joint", LORA),
    Arm("ilora-separate", ILORA, APART),
    Arm("ilora-direct", ILORA, reasoning=0.0),
)


@dataclass(frozen=True)
class Claim:
    """`arm` is better than `other`, decided by the metric `primary`; `mean` is that of all `metrics`."""

    name: str
    arm: str
    other: str
    metrics: tuple[str, ...]
    primary: str


CLAIMS = (
    Claim("a: heads", ARMS[0].name, ARMS[1].name, ("avqa", "ave", "avvp"), "mean"),
    Claim("b: joint", ARMS[0].name, ARMS[2].name, ("avqa", "ave", "avvp"), "mean"),
    Claim("c: reasons", ARMS[0].name, ARMS[3].name, ("avqa",), "avqa"),
)


@dataclass(frozen=True)
class Size:
    """How large everything is. `steps` are those of the base's captions and of one part of an arm.

    Each seed asks `clips_asked` clips of its own, the first `clips_of_events` of them for events too.
    """

    network: Mapping[str, Any]
    clips: int
    steps: Mapping[str, int]
    batch: Mapping[str, int]
    clips_asked: int
    clips_of_events: int
    rate: float = 2e-3
    matrix_rate: float = 0.012
    extra: Mapping[str, Any] = field(default_factory=dict)


LAYERS = 4  # as mini had when the ablation was registered


def _network(**llm: int) -> dict[str, Any]:
    """The numbers of mini without its adapter and masks, and with these of its LLM in place of its own."""
    config = json.loads((MINI / "crab.json").read_text(encoding="utf-8"))["config"]
    tokens = ("vocab_size", "bos_token_id", "eos_token_id", "pad_token_id")  # the tokenizer's
    own = {key: value for key, value in config["llm"].items() if key not in tokens}
    return {**config, "ilora": None, "mask": None, "llm": {**own, **llm}}


FULL = Size(
    network=_network(num_hidden_layers=LAYERS),
    clips=4000,
    steps={CAPTIONS: 600, "arm": 300},
    batch={CAPTIONS: 8, "arm": 6},
    clips_asked=450,
    clips_of_events=200,
)
QUICK = Size(
    network=_network(num_hidden_layers=1, intermediate_size=16),
    clips=6,
    steps={CAPTIONS: 2, "arm": 2},
    batch={CAPTIONS: 2, "arm": 2},
    clips_asked=4,
    clips_of_events=4,
    extra={"data": {"processes": 1}},
)


def adapter_parameters(ilora: Mapping[str, Any], network: Mapping[str, Any], *, idle: bool = True) -> int:
    """The parameters of an adapter in all linears of the LLM; without `idle`, less the router of a single head."""
    llm, heads, rank = network["llm"], int(ilora["heads"]), int(ilora["rank"])
    width, inner = int(llm["hidden_size"]), int(llm["intermediate_size"])
    shapes = [(width, width)] * 4 + [(width, inner)] * 2 + [(inner, width)]
    router = heads if idle or heads > 1 else 0
    one_layer = sum(rank * given + heads * out * rank + router * given for given, out in shapes)
    return one_layer * int(llm["num_hidden_layers"])


def base_settings(size: Size) -> dict[str, Any]:
    """The base that all arms start from: mini's encoders and projectors, and an LLM that has only described clips."""
    return _settings(size, seed=0, stages=_base_stages(size))


def settings_of(size: Size, arm: Arm, part: Part, seed: int) -> dict[str, Any]:
    """One training of an arm: the base's stages, which are done, and its own."""
    own = {
        "name": "arm",
        "kind": "language",
        "steps": size.steps["arm"],
        "batch": size.batch["arm"],
        "optimizer": "muon",
        "rate": size.rate,
        "matrix_rate": size.matrix_rate,
        "warmup": 20,
        "answer_weight": 3.0,
        "train": ["tables", "ilora"],
        "tasks": dict(part.tasks),
        "samples": part.samples,
        "reasoning": arm.reasoning,
        "ilora": dict(arm.ilora),
        "save_every": 100,
    }
    return _settings(size, seed=seed, stages=[*_base_stages(size), own])


def _settings(size: Size, *, seed: int, stages: list[dict[str, Any]]) -> dict[str, Any]:
    extra = dict(size.extra)
    data = {"clips": size.clips, "short_share": 0.15, **dict(extra.pop("data", {}))}
    return {
        "name": "ablation",
        "seed": seed,
        "vocabulary": 1000,
        "network": size.network,
        "data": data,
        "stages": stages,
        **extra,
    }


def _base_stages(size: Size) -> list[dict[str, Any]]:
    return [
        {"name": START, "kind": "visual", "steps": 1, "train": ["vl_projector"]},  # a folder that is there already
        {
            "name": CAPTIONS,
            "kind": "language",
            "steps": size.steps[CAPTIONS],
            "batch": size.batch[CAPTIONS],
            "optimizer": "muon",
            "rate": 2e-3,
            "matrix_rate": 0.02,
            "train": ["llm"],
            "tasks": {"avcap": 1.0},
            "samples": 1,
            "save_every": 100,
        },
    ]
