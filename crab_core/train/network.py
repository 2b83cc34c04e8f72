"""A run's network: built anew, extended by I-LoRA, frozen but for the parts that learn, written as a model folder."""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from crab_core.families._base import Precision
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import CrabConfig, ILoraConfig
from crab_core.nn.qformer import Projector
from crab_core.registry import FAMILIES
from crab_core.train.record import settings_document
from crab_core.train.settings import TrainSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LORA_MARK = "lora_"
ENCODERS = ("visual_encoder", "audio_encoder")
SENSES = (*ENCODERS, "vl_projector", "al_projector", "tags")  # all that makes a clip's rows
ROW_SCALE = 0.15
PARTS_OF: Mapping[str, tuple[str, ...]] = {
    "visual_encoder": ("visual_encoder.",),
    "audio_encoder": ("audio_encoder.",),
    "vl_projector": ("vl_projector.",),
    "al_projector": ("al_projector.",),
    "tags": ("video_tags.", "audio_tags."),
    "llm": ("llm.",),
}
MASKS, TABLES = ".mask_decoder.", ("llm.model.embed_tokens.", "llm.lm_head.")


def new_model(network: Mapping[str, Any], tokenizer: PreTrainedTokenizerFast) -> CrabModel:
    """The network of a config with random weights and the tokenizer's vocabulary; ValueError for a bad config."""
    llm = {
        **network["llm"],
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    model = CrabModel(CrabConfig.from_dict({**network, "llm": llm}))
    for projector in (model.vl_projector, model.al_projector):
        _wake(projector)
    return model


def _wake(projector: Projector) -> None:
    """Larger random weights than BERT's 0.02: a narrow Q-Former would look everywhere alike for thousands of steps."""
    nn.init.normal_(projector.queries, std=1.0)
    for module in projector.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)


def add_ilora(model: CrabModel, ilora: Mapping[str, Any]) -> CrabModel:
    """The same network with an I-LoRA that starts as the identity."""
    model.add_ilora(ILoraConfig(**ilora))
    return model


def deepen(model: CrabModel, count: int, above: int = 0) -> CrabModel:
    """The same network with `count` new layers above so many of its LLM's own, which pass on what they get until they
    learn.

    Attention and feed-forward of the new ones end in zeros. Below all others, where things are found by what they are,
    their keys equal their queries (`match_alike`). Raises ValueError for a network that has an I-LoRA already.
    """
    if model.config.ilora is not None:
        raise ValueError("an LLM with an I-LoRA gets no new layers")
    deeper = CrabModel(deeper_config(model.config, count))
    before, after = model.state_dict(), deeper.state_dict()
    moved = {_higher(name, count, above): tensor for name, tensor in before.items()}
    deeper.load_state_dict({**after, **moved})
    with torch.no_grad():
        if not above:
            match_alike(deeper, count)
        for layer in deeper.llm.model.layers[above : above + count]:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
    return deeper


def deeper_config(config: CrabConfig, count: int) -> CrabConfig:
    """The config with `count` more layers in its LLM."""
    return replace(config, llm={**config.llm, "num_hidden_layers": config.llm["num_hidden_layers"] + count})


def _higher(name: str, count: int, above: int) -> str:
    """The name of a tensor of the LLM's layers when there are `count` more above the first `above` of them."""
    found = re.match(r"(llm\.model\.layers\.)(\d+)", name)
    if found is None or int(found[2]) < above:
        return name
    return f"{found[1]}{int(found[2]) + count}{name[found.end() :]}"


def soften(model: CrabModel) -> None:
    """Scales both projectors' rows down towards the size of text embeddings.

    Dense stages leave rows some sixty times larger than the LLM's new embeddings, and its layers could hardly change
    such rows.
    """
    with torch.no_grad():
        for projector in (model.vl_projector, model.al_projector):
            projector.mlp[-1].weight.mul_(ROW_SCALE)
            projector.mlp[-1].bias.mul_(ROW_SCALE)


def match_alike(model: CrabModel, count: int | None = None) -> None:
    """Lets every new attention head begin with its keys equal to its queries: tokens attend to what they are like.

    New are the lowest `count` layers, all if it is None.
    """
    with torch.no_grad():
        for layer in model.llm.model.layers[:count]:
            layer.self_attn.k_proj.weight.copy_(layer.self_attn.q_proj.weight)


def name_rows(model: CrabModel, directions: Mapping[int, torch.Tensor]) -> None:
    """Gives the tokens of class names the directions (W,) that the projectors' rows have for these classes."""
    embedding = model.llm.get_input_embeddings().weight
    with torch.no_grad():
        length = embedding.norm(dim=1).mean()
        for token, direction in directions.items():
            embedding[token] = direction / direction.norm() * length


def part_of(name: str) -> str | None:
    """The part of the network that a parameter belongs to: `llm.model.layers.0...lora_A` -> `ilora`."""
    if LORA_MARK in name:
        return "ilora"
    if name.startswith("capabilities."):
        return "masks" if MASKS in name else None  # its tables are copies of the LLM's
    for part, prefixes in PARTS_OF.items():
        if name.startswith(prefixes):
            return part
    return None


def only_train(model: nn.Module, parts: Sequence[str]) -> int:
    """Lets exactly these parts learn and gives how many parameters that are."""
    count = 0
    for name, parameter in model.named_parameters():
        learns = part_of(name) in parts or ("tables" in parts and name.startswith(TABLES))
        parameter.requires_grad_(learns)
        count += parameter.numel() * parameter.requires_grad
    return count


def encoder_key(model: CrabModel) -> str:
    """A name that changes with the encoders' weights."""
    return _key_of(model, ENCODERS)


def senses_key(model: CrabModel) -> str:
    """A name that changes with the weights of `SENSES`."""
    return _key_of(model, SENSES)


def _key_of(model: CrabModel, parts: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        if part_of(name) in parts:
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def describe(model: nn.Module) -> dict[str, int]:
    """How many parameters each part has."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = part_of(name) or "other"
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def write_model(
    model: CrabModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    settings: TrainSettings,
    facts: Mapping[str, Any],
) -> None:
    """Writes an ordinary model folder in half precision: `crab infer --model FOLDER` reads it."""
    from crab_core.weights.folder import Header, write_folder

    for capability in model.capabilities.values():
        capability.take_tables(model.llm)
    tensors = {name: _stored(tensor) for name, tensor in model.tensors().items()}
    header = Header(
        name=settings.name,
        family="crab",
        config=model.config.to_dict(),
        licence="Apache-2.0",
        note=settings.note,
        profile=settings.profile,
        tasks=settings.tasks,
        training={"settings": settings_document(settings), "parameters": describe(model), **facts},
    )
    with tempfile.TemporaryDirectory() as parking:
        tokenizer.save_pretrained(parking)
        files = {path.name: path.read_bytes() for path in Path(parking).iterdir()}
    write_folder(folder, header, tensors, files)


def _stored(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().half() if tensor.is_floating_point() else tensor.detach()


def read_model(folder: Path) -> CrabModel:
    """The network of a model folder, in single precision and ready to learn on."""
    network = FAMILIES["crab"].load().load(folder, Precision())
    model: CrabModel = network.model
    return model
