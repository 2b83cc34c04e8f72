"""The published files of Crab+ and their tensors under the names of a model folder, none of them read yet.

Source: Qwen2.5-Omni-7B's checkpoint, of which the thinker is used, and the adapter of Crab+ (arXiv 2603.04128).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from crab_core.errors import ModelError
from crab_core.weights.lazy import LazyTensor, open_file, open_folder
from crab_core.weights.release import stacked

if TYPE_CHECKING:
    import torch

THINKER = "thinker."
UNUSED = ("talker.", "token2wav.")  # parts of the base that speak
TABLES = (".inv_freq", ".positional_embedding.positional_embedding")  # computed, but in some files
WRAPPER = "base_model.model."
BESIDE = ("adapter_config.json", "lora_args.json")  # what a publisher may say of an adapter, beside it
OUTPUT = "lm_head.weight"


@dataclass(frozen=True, slots=True)
class PlusRelease:
    """Where the files are. `tokenizer` is the base's folder if None; without `sam2` the model folder holds no SAM 2."""

    base: Path
    finetune: Path
    tokenizer: Path | None = None
    sam2: Path | None = None


@dataclass(frozen=True, slots=True)
class PlusChoices:
    """What the release leaves open.

    `alpha` is the scale of the adapter: twice its rank if None, as published, unless a file beside it tells another.
    `media` and `tables` are those of `nn.plus_config`.
    """

    alpha: float | None = None
    media: Literal["published", "native"] = "published"
    tables: Literal["float32", "bfloat16"] = "float32"
    name: str = "crab-plus-7b"


@dataclass(frozen=True)
class PlusOpened:
    """A release's tensors by role under our names, the thinker's config, and the tensors that nothing reads."""

    base: Mapping[str, LazyTensor]
    adapter: Mapping[str, LazyTensor]
    thinker: Mapping[str, Any]
    adapter_tensors: int
    left_out: tuple[str, ...]


def open_plus(
    release: PlusRelease,
    stored_name: Callable[[str], str],
    stack: Callable[[Mapping[str, torch.Tensor]], Mapping[str, torch.Tensor]],
) -> PlusOpened:
    """Opens every file and reads no weights; `stored_name` gives a tensor's name in a model folder, `stack` puts the
    heads of an adapter side by side.

    Raises ModelError for what is missing, damaged or no part of Crab+.
    """
    found, config = open_folder(release.base)
    published = open_file(release.finetune)
    thinker = dict(config.get("thinker_config") or config)
    whole = any(key.startswith(THINKER) for key in found)
    base: dict[str, LazyTensor] = {}
    left_out = []
    for key, lazy in found.items():
        if key.endswith(TABLES) or (whole and not key.startswith(THINKER)):
            left_out.append(key)
        else:
            base[stored_name(key.removeprefix(THINKER))] = lazy
    unknown = [key for key in left_out if not key.startswith((*UNUSED, THINKER)) and not key.endswith(TABLES)]
    if unknown or "model.embed_tokens.weight" not in base or not {"audio_config", "vision_config"} <= set(thinker):
        lacks = f"it has '{unknown[0]}'" if unknown else "it lacks the parts of a thinker"
        raise ModelError(
            f"'{release.base}' cannot be the --base of Crab+: {lacks}", hint="Give the folder of Qwen2.5-Omni-7B."
        )
    adapter = {stored_name(key): lazy for key, lazy in stacked(_unwrapped(published), stack).items()}
    if not any(".ilora_A." in name for name in adapter):
        raise ModelError(
            f"'{release.finetune}' cannot be the --finetune of Crab+: it has no I-LoRA tensors",
            hint="Give finetune_weights.bin of Crab+.",
        )
    return PlusOpened(base, adapter, _untied(thinker, base), len(published), tuple(sorted(left_out)))


def alpha_beside(finetune: Path) -> float | None:
    """The scale that a JSON file beside the adapter tells, as `lora_alpha`; None if there is none that can be read."""
    for name in BESIDE:
        try:
            told = json.loads((finetune.parent / name).read_text(encoding="utf-8")).get("lora_alpha")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(told, int | float) and told > 0:
            return float(told)
    return None


def _unwrapped(published: Mapping[str, LazyTensor]) -> dict[str, LazyTensor]:
    return {key.removeprefix(WRAPPER): lazy for key, lazy in published.items()}


def _untied(thinker: dict[str, Any], base: Mapping[str, LazyTensor]) -> dict[str, Any]:
    """The config with what the tensors tell: an output layer of its own is not tied, whatever a default says."""
    tied = OUTPUT not in base
    text = {**thinker.get("text_config", {}), "tie_word_embeddings": tied}
    return {**thinker, "tie_word_embeddings": tied, "text_config": text}
