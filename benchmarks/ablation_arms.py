"""The arms, sizes and claims of the ablation, as data; benchmarks/ablation.md says them in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

BASE_STAGES = ("visual", "audio", "places", "captions")
ILORA = {"heads": 3, "rank": 8, "alpha": 16.0, "dropout": 0.0}
LORA = {"heads": 1, "rank": 18, "alpha": 36.0, "dropout": 0.0}  # as many parameters that count, the same alpha / rank
EVERY = 1e6  # a weight of a task with one text a clip: it is in every row
QUESTIONS = 6


@dataclass(frozen=True)
class Part:
    """One training of an arm: the tasks' weights and texts a row, and the tasks that its model is asked."""

    name: str
    tasks: Mapping[str, float]
    samples: int
    asked: tuple[str, ...]


JOINT = Part("joint", {"avqa": 6.0, "ave": EVERY, "avvp": EVERY}, QUESTIONS + 2, ("avqa", "ave", "avvp"))
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
    """How large everything is. `steps` are those of each stage of the base and of one part of an arm."""

    network: Mapping[str, Any]
    clips: int
    steps: Mapping[str, int]
    batch: Mapping[str, int]
    clips_asked: int
    clips_of_events: int
    rate: float = 2e-3
    extra: Mapping[str, Any] = field(default_factory=dict)


def _network(widths: tuple[int, ...], width: int, inner: int, layers: int, rows: int) -> dict[str, Any]:
    last = widths[-1]
    projector = {"layers": 2, "hidden": rows, "heads": 4, "ffn": 2 * rows, "encoder_width": last, "out_width": width}
    return {
        "visual": {"kind": "conv", "options": {"widths": list(widths), "image_px": 112}},
        "audio": {"kind": "conv", "options": {"widths": list(widths), "width": last}},
        "vl": {**projector, "queries": 6, "dropout": 0.0},
        "al": {**projector, "queries": 2, "dropout": 0.0},
        "llm": {
            "hidden_size": width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "intermediate_size": inner,
            "max_position_embeddings": 1024,
            "rms_norm_eps": 1e-5,
            "initializer_range": 0.05,
            "tie_word_embeddings": True,
        },
        "time_tags": 10,
        "media": {"seconds": 10, "frame_px": 112, "box_px": 100},
    }


FULL = Size(
    network=_network((16, 32, 64, 160), width=192, inner=512, layers=4, rows=128),
    clips=8000,
    steps={"visual": 3000, "audio": 3000, "places": 1000, "captions": 1500, "arm": 600},
    batch={"visual": 32, "audio": 32, "places": 32, "captions": 8, "arm": 8},
    clips_asked=1300,
    clips_of_events=500,
)
QUICK = Size(
    network=_network((4, 6, 8, 12), width=16, inner=24, layers=1, rows=8),
    clips=6,
    steps={"visual": 2, "audio": 2, "places": 1, "captions": 2, "arm": 2},
    batch={"visual": 4, "audio": 4, "places": 4, "captions": 2, "arm": 2},
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
    """The base that all arms start from: encoders, projectors, and an LLM that has only described clips."""
    return _settings(size, seed=0, stages=_base_stages(size))


def settings_of(size: Size, arm: Arm, part: Part, seed: int) -> dict[str, Any]:
    """One training of an arm: the base's stages, which are done, and its own."""
    own = {
        "name": "arm",
        "kind": "language",
        "steps": size.steps["arm"],
        "batch": size.batch["arm"],
        "rate": size.rate,
        "warmup": 40,
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
    common = {name: {"name": name, "steps": size.steps[name], "batch": size.batch[name]} for name in BASE_STAGES}
    visual, audio, places, captions = (common[name] for name in BASE_STAGES)
    return [
        {**visual, "kind": "visual", "rate": 2e-3, "train": ["visual_encoder", "vl_projector", "tags"]},
        {**audio, "kind": "audio", "rate": 2e-3, "train": ["audio_encoder", "al_projector", "tags"]},
        {**places, "kind": "visual", "places": True, "rate": 1e-3, "train": ["vl_projector"]},
        {
            **captions,
            "kind": "language",
            "optimizer": "muon",
            "rate": 2e-3,
            "matrix_rate": 0.02,
            "train": ["llm"],
            "tasks": {"avcap": 1.0},
            "samples": 1,
        },
    ]
