"""What a run will take, before anything is loaded: parameters that learn, memory, and the least time.

Memory is weights, gradients, the optimizer's state and what the backward pass keeps of the LLM; time is that of the
matrix products alone, at a speed that is measured for a moment, so that decoding and encoding come on top.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from crab_core.engine.device import choose
from crab_core.engine.resolve import folder_of
from crab_core.errors import UsageError
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig, ILoraConfig
from crab_core.nn.plus import PlusModel
from crab_core.nn.plus_config import PlusConfig
from crab_core.nn.stored import without_weights
from crab_core.train.file_data import read_lessons
from crab_core.train.learners import taught_by
from crab_core.train.lesson_index import LessonIndex
from crab_core.train.network import deeper_config, only_train
from crab_core.train.settings import FileData, Stage, TrainSettings
from crab_core.train.start import LEARN, no_network
from crab_core.weights.folder import read_header
from crab_core.weights.quantize import linears

OPTIMIZER_BYTES = {"adamw": 8.0, "muon": 8.0, "adamw8bit": 2.0, "paged-adamw8bit": 2.0}  # of each learning parameter
PACKED_BYTES = {"4bit": 0.53, "8bit": 1.01}  # with the scales
WIDTHS, INNER = 9, 4  # values that a layer keeps of a token: in widths, and in widths of its inner layer
LETTERS_A_TOKEN, PROMPT_TOKENS, WORLD_TOKENS = 3.5, 40, 60  # of text; of a generated text with its prompt
PLUS_TOKEN_PX, PLUS_SOUND_TOKENS = 28, 25  # pixels a side of a token of sight, and tokens of a second of sound (Crab+)
PRODUCT, LOOK_S = 512, 0.3  # side of the matrices of the measurement, and its length


@dataclass(frozen=True, slots=True)
class Plan:
    """One stage: `learning` parameters, `memory` in bytes, `least_s` None where it is not estimated."""

    stage: Stage
    learning: int
    memory: int
    least_s: float | None


def plans(settings: TrainSettings) -> list[Plan]:
    """The plan of each stage; raises what reading the model's header and the data files raises."""
    model, lessons = _network(settings), None
    found = []
    for stage in settings.stages:
        if stage.deepen and isinstance(model, CrabModel):
            with without_weights():
                model = CrabModel(deeper_config(model.config, stage.deepen))
        if stage.ilora is not None and model.config.ilora is None:
            with torch.device("meta"):
                model.add_ilora(ILoraConfig(**stage.ilora))
        learning = only_train(model, stage.train)
        if isinstance(settings.data, FileData):
            taught = taught_by(read_header(folder_of(settings.model)))
            lessons = read_lessons(settings.data, stage.tasks, 1, stage.samples, lambda task, seconds: 1.0, taught)
        tokens = _tokens_of_row(model, stage, lessons)
        memory = _memory(settings, model, stage, learning, tokens)
        least_s = None if stage.kind != "language" else _least_s(settings, model, stage, learning, tokens)
        found.append(Plan(stage, learning, memory, least_s))
    return found


def _network(settings: TrainSettings) -> CrabModel | PlusModel:
    """The network without weights."""
    if settings.network is not None:
        llm = {**settings.network["llm"], "vocab_size": settings.vocabulary}
        with without_weights():
            return CrabModel(CrabConfig.from_dict({**settings.network, "llm": llm}))
    folder = folder_of(settings.model)
    header = read_header(folder)
    if header.family not in LEARN:
        raise UsageError(f"a model of the family '{header.family}' cannot be trained", hint=f"Use {', '.join(LEARN)}.")
    try:
        with without_weights():
            if header.family == "crab":
                return CrabModel(CrabConfig.from_dict(header.config))
            return PlusModel(PlusConfig.from_dict(header.config))
    except (ValueError, TypeError) as err:
        raise no_network(folder, err) from err


def _media_tokens(model: CrabModel | PlusModel) -> float:
    if isinstance(model, PlusModel):
        media = model.config.media
        return media.frames / 2 * (media.frame_px / PLUS_TOKEN_PX) ** 2 + media.frames * PLUS_SOUND_TOKENS
    config = model.config
    return config.media.seconds * (config.vl.queries + config.al.queries)


def _tokens_of_row(model: CrabModel | PlusModel, stage: Stage, lessons: LessonIndex | None) -> float:
    media = _media_tokens(model)
    if lessons is None:
        return media + stage.samples * WORLD_TOKENS + (stage.lookups if stage.lookup_weight else 0)
    return media + (lessons.letters_in_all / LETTERS_A_TOKEN + lessons.texts * PROMPT_TOKENS) / len(lessons)


def _decoder(model: CrabModel | PlusModel) -> Any:
    return model.text if isinstance(model, PlusModel) else model.llm


def _memory(settings: TrainSettings, model: CrabModel | PlusModel, stage: Stage, learning: int, tokens: float) -> int:
    each = 4 if settings.precision == "fp32" else 2
    total = sum(one.numel() for one in model.parameters())
    decoder = _decoder(model)
    packed = sum(place.linear.weight.numel() for place in linears(decoder)) if settings.quantize != "none" else 0
    weights = (total - packed - learning) * each + packed * PACKED_BYTES.get(settings.quantize, 0.0)
    learnt = learning * (4 + 4 + OPTIMIZER_BYTES[stage.optimizer])  # float32, gradient, state
    llm = decoder.config
    a_layer = (WIDTHS * llm.hidden_size + INNER * llm.intermediate_size) * each
    layers = llm.num_hidden_layers
    a_layer += _dropped(model, stage, each) / layers
    kept = a_layer + layers * llm.hidden_size * each if settings.checkpointing else layers * a_layer
    rows = -(-stage.batch // stage.accumulate) if stage.kind == "language" else 0
    return int(weights + learnt + rows * tokens * kept)


def _dropped(model: CrabModel | PlusModel, stage: Stage, each: int) -> int:
    """Bytes that the dropout of the adapter keeps of a token: a mask and what it leaves, for all heads or each."""
    wanted = {key: value for key, value in (stage.ilora or {}).items() if key in ("dropout", "per_head_dropout")}
    ilora = replace(model.config.ilora, **wanted) if model.config.ilora is not None else None
    if ilora is None or not ilora.dropout:
        return 0
    from crab_core.nn.ilora import layers

    masks = ilora.heads if ilora.per_head_dropout else 1
    return masks * (1 + each) * sum(layer.in_features for layer in layers(_decoder(model)))


def _least_s(
    settings: TrainSettings, model: CrabModel | PlusModel, stage: Stage, learning: int, tokens: float
) -> float:
    """Two operations a parameter and token forward, two backward, two for what learns, two to compute again."""
    read = sum(one.numel() for name, one in _decoder(model).named_parameters() if "embed_tokens" not in name)
    operations = (4 + 2 * settings.checkpointing) * read + 2 * min(learning, read)
    steps = stage.until or stage.steps
    return steps * stage.batch * tokens * operations / _speed(settings.device, settings.precision)


@lru_cache(maxsize=1)
def _speed(device: str, precision: str) -> float:
    """Operations a second of a matrix product."""
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    place = choose(device, "float32").precision.device
    left = right = torch.eye(PRODUCT).to(place, dtype)
    fastest, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < LOOK_S:
        start = time.perf_counter()
        left = left @ right
        if left.is_cuda:
            torch.cuda.synchronize()
        fastest = min(fastest, time.perf_counter() - start)  # others may use the machine meanwhile
    return float(2 * PRODUCT**3 / fastest)
