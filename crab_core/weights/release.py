"""The published files of Crab-7B by what each is for, and their tensors under our names, none of them read yet.

Each file is recognised by the tensors that only it has, so that files given for each other are told by role.
Source: file list and key lists of the release of Crab (arXiv 2503.13068).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crab_core.errors import ModelError
from crab_core.weights.convert import rename, rename_beats
from crab_core.weights.lazy import LazyTensor, extra_of, open_file, open_folder, read_json

if TYPE_CHECKING:
    import torch

VARIANTS = ("train", "infer")  # of the values that no published file holds
HEAD = re.compile(r"(?P<layer>.+)\.lora_B(?P<head>\d+)\.weight")
ADAPTER = {".lora_route.": ".ilora_router.", ".lora_A.": ".ilora_A."}
SIGNS: Mapping[str, tuple[str, ...]] = {  # our names that a file must have to be what it was given for
    "llm": ("llm.model.embed_tokens.weight", "llm.model.layers.0.self_attn.q_proj.weight"),
    "clip": ("visual_encoder.tower.embeddings.class_embedding",),
    "beats": ("audio_encoder.patches.weight",),
    "finetune": (
        "vl_projector.queries",
        "al_projector.queries",
        "llm.model.layers.0.self_attn.q_proj.ilora_A.weight",
    ),
    "avs": ("mask_decoder.queries", "llm.model.embed_tokens.weight", "llm.lm_head.weight"),
    "avss": ("mask_decoder.queries", "llm.model.embed_tokens.weight", "llm.lm_head.weight"),
}


@dataclass(frozen=True, slots=True)
class Release:
    """Where the files are. `tokenizer` is the LLM's folder if None, `bert_config` the published numbers if None.

    Without `sam2` the model folder holds no SAM 2.
    """

    llm: Path
    clip: Path
    beats: Path
    finetune: Path
    avs: Path | None = None
    avss: Path | None = None
    bert_config: Path | None = None
    tokenizer: Path | None = None
    sam2: Path | None = None


@dataclass(frozen=True, slots=True)
class Choices:
    """What the release leaves open.

    `positions` is `train` or `infer` (values of the training or of the inference script), or a safetensors file with
    the two matrices; `profile` the wording of prompts; `mask_layers` the hidden states of CLIP that masks are drawn
    from; `alpha` the scale of the adapter, which no file holds.
    """

    positions: str = "train"
    profile: str = "train"
    mask_layers: tuple[int, int] = (14, 22)
    alpha: float = 16.0
    name: str = "crab-7b"


@dataclass(frozen=True)
class Opened:
    """A release's tensors by role, under our names; `left_out` names the published tensors that nothing reads."""

    tensors: Mapping[str, Mapping[str, LazyTensor]]
    llm_config: Mapping[str, Any]
    clip_config: Mapping[str, Any]
    beats_config: Mapping[str, Any]
    bert_config: Mapping[str, Any]
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def open_release(release: Release, stack: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]) -> Opened:
    """Opens every file and reads no weights; `stack` puts the heads of an adapter side by side.

    Raises ModelError for what is missing, damaged, or given for another role.
    """
    llm, llm_config = open_folder(release.llm)
    clip, clip_config = open_folder(release.clip)
    published = {"llm": llm, "clip": clip, "beats": open_file(release.beats), "finetune": open_file(release.finetune)}
    published |= {name: open_file(path) for name, path in (("avs", release.avs), ("avss", release.avss)) if path}
    tensors: dict[str, dict[str, LazyTensor]] = {}
    left_out: dict[str, tuple[str, ...]] = {}
    for role, found in published.items():
        renamed, unused = _renamed(found, role, _where(release, role))
        tensors[role] = stacked(renamed, stack)
        left_out[role] = tuple(sorted(unused))
        _check_role(role, tensors[role], found, _where(release, role))
    return Opened(
        tensors=tensors,
        llm_config=llm_config,
        clip_config={**clip_config, **clip_config.get("vision_config", {})},
        beats_config=extra_of(release.beats).get("cfg", {}),
        bert_config=read_json(release.bert_config) if release.bert_config else {},
        left_out=left_out,
    )


def _where(release: Release, role: str) -> Path:
    return Path(getattr(release, role))


def _renamed(found: Mapping[str, LazyTensor], role: str, where: Path) -> tuple[dict[str, LazyTensor], list[str]]:
    """The tensors under our names, and the published names of those that nothing reads."""
    renamed: dict[str, LazyTensor] = {}
    unused = []
    for key, lazy in found.items():
        name = _name(key, role)
        if name is None:
            unused.append(key)
        elif name in renamed:
            raise ModelError(f"'{where}' has two tensors for '{name}'", hint="Give the publisher's own file.")
        else:
            renamed[name] = lazy.squeezed() if name.endswith("queries") and len(lazy.shape) == 3 else lazy
    return renamed, unused


def _name(key: str, role: str) -> str | None:
    if role != "beats":
        return rename(key)
    inner = rename_beats(key)
    return None if inner is None else f"audio_encoder.{inner}"


def stacked(
    tensors: Mapping[str, LazyTensor], stack: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]]
) -> dict[str, LazyTensor]:
    """The tensors with the heads of each layer as one tensor (out, H r), to be put together when it is read."""
    stacked: dict[str, LazyTensor] = {}
    heads: dict[str, dict[str, LazyTensor]] = {}
    for name, lazy in tensors.items():
        match = HEAD.fullmatch(name)
        if match:
            heads.setdefault(match["layer"], {})[name] = lazy
            continue
        stacked[_adapter_name(name)] = lazy
    for layer, found in heads.items():
        name = f"{layer}.ilora_B.weight"
        first = next(iter(found.values()))
        width = sum(lazy.shape[1] for lazy in found.values())

        def read(found: Mapping[str, LazyTensor] = found, name: str = name) -> torch.Tensor:
            return stack({key: lazy.read() for key, lazy in found.items()})[name]

        stacked[name] = LazyTensor((first.shape[0], width), first.dtype, first.path, read)
    return stacked


def _check_role(role: str, names: Iterable[str], published: Iterable[str], where: Path) -> None:
    """Raises ModelError if a file lacks what its role needs; the hint names the role that its published names fit."""
    lacking = sorted(set(SIGNS[role]) - set(names))
    if not lacking:
        return
    fits = [other for other, signs in SIGNS.items() if set(signs) <= {_ours(key, other) for key in published}]
    hint = f"It looks like the file for --{fits[0]}." if fits else f"Give the publisher's own file to --{role}."
    raise ModelError(f"'{where}' cannot be the --{role} of Crab: it lacks '{lacking[0]}'", hint=hint)


def _ours(key: str, role: str) -> str | None:
    """Our name of a published tensor as a file of that role, its adapter's parts too."""
    name = _name(key, role)
    return None if name is None else _adapter_name(name)


def _adapter_name(name: str) -> str:
    for published, ours in ADAPTER.items():
        name = name.replace(published, ours)
    return name
