"""The tiny random Crab+ of the parity goldens as a release, and imported."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

DATA = Path(__file__).parent / "parity_plus"
RANDOM = "the weights of this model are random: its words mean nothing"


def write_release(folder: Path, *, whole: bool = False) -> Path:
    """base/ and finetune.bin; `whole` writes the base as the full checkpoint, with a talker and a prefix."""
    from safetensors.torch import load_file, save_file

    base = folder / "base"
    base.mkdir(parents=True)
    tensors, config = load_file(DATA / "model.safetensors"), json.loads((DATA / "config.json").read_text())
    if whole:
        some = tensors["lm_head.weight"][:2].clone()
        tensors = {f"thinker.{name}": tensor for name, tensor in tensors.items()}
        tensors |= {"talker.model.norm.weight": some, "token2wav.bias": some.clone()}
        config = {"model_type": "qwen2_5_omni", "thinker_config": config, "talker_config": {}}
    save_file(tensors, base / "model.safetensors")
    (base / "config.json").write_text(json.dumps(config))
    (folder / "finetune.bin").write_bytes((DATA / "finetune_weights.bin").read_bytes())
    return folder


def arguments(root: Path, out: Path) -> list[str]:
    """What `crab` is told to import it."""
    files = ["--base", str(root / "base"), "--finetune", str(root / "finetune.bin")]
    return ["models", "import", "crab-plus-7b", "-o", str(out), *files]


def write_plus(folder: Path, **choices: str) -> Path:
    """A model folder of it, called `tiny-plus`, whose header says that its weights are random."""
    from crab_core.families.plus_import import import_plus
    from crab_core.weights.folder import HEADER
    from crab_core.weights.plus_release import PlusChoices, PlusRelease

    root = write_release(folder.parent / f"{folder.name}-release")
    _write_letters_only(root / "base" / "model.safetensors")
    files = PlusRelease(root / "base", root / "finetune.bin")
    header = import_plus(files, PlusChoices(name="tiny-plus", **choices), folder)
    noted = dataclasses.replace(header, note=RANDOM)
    (folder / HEADER).write_text(json.dumps(noted.to_dict(), indent=1))
    return folder


def _write_letters_only(path: Path) -> None:
    """Random bytes are no text: the output layer prefers printable ASCII."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(path)
    tensors["lm_head.weight"][:32] *= 0.02
    tensors["lm_head.weight"][127:256] *= 0.02
    save_file(tensors, path)
