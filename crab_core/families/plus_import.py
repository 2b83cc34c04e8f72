"""The published files of Crab+ become one model folder.

Every tensor of the base's thinker and of the adapter is in it once, or the import fails: an adapter that is missing,
partial or of another base never gives a silent base model. Source: Crab+ (arXiv 2603.04128).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crab_core.errors import ModelError
from crab_core.families.importing import check_names, sharded, sizes_of
from crab_core.families.plus_tokens import byte_files, tokenizer_files
from crab_core.families.sam2_part import sam2_part
from crab_core.nn.crab_config import ILoraConfig
from crab_core.nn.ilora import from_published, shape_of
from crab_core.nn.plus import PlusModel, published_name
from crab_core.nn.plus_config import PlusConfig, PlusMedia
from crab_core.nn.stored import without_weights
from crab_core.progress import Listener, Note, ignore
from crab_core.tasks.wording import PLUS
from crab_core.weights.folder import Header
from crab_core.weights.plus_release import PlusChoices, PlusOpened, PlusRelease, alpha_beside, open_plus
from crab_core.weights.streaming import check_place, write_streamed

TASKS = (
    *("avqa", "avqa-options", "ave", "avvp", "unav", "avcap", "arig", "s4", "ms3", "ref-avs"),
    *("emotion", "action", "a2v", "v2a"),
)
LICENCE = "Apache-2.0 for the base{}; for the adapter see its publisher"
PUBLISHED_SCALE = 2.0  # alpha over rank
DROPOUT = 0.1
BYTES_NOTE = "a network without a tokenizer: it reads and writes single bytes, which is for tests"
MAP = "import.json"


def import_plus(release: PlusRelease, choices: PlusChoices, out: Path, on_progress: Listener = ignore) -> Header:
    """Writes the model folder and gives its header. The same files and choices always give the same bytes.

    Head count and rank are read from the adapter. Memory holds one tensor at a time. Raises ModelError for files that
    are missing, damaged or of another model, WeightsMismatch for tensors that are lacking or unknown, UsageError for a
    place that is taken, ResourceError if the disk is too small; nothing is left behind then.
    """
    check_place(out)
    sam2 = sam2_part(release.sam2)
    opened = open_plus(release, published_name, from_published)
    config = _config(opened, release, choices)
    with without_weights():
        try:
            model = PlusModel(config)
        except (ValueError, TypeError, ArithmeticError, RuntimeError, AttributeError, KeyError) as err:
            raise ModelError(f"'{release.base}' is no base of Crab+: {err}", hint="Fetch the files again.") from err
    files = {**sharded(opened.base, "thinker"), "adapter.safetensors": dict(opened.adapter)}
    check_names(files, model, release.finetune)
    tokens, note = _tokens(release, opened, on_progress)
    assert config.ilora is not None
    on_progress(
        Note(f"{opened.adapter_tensors} adapter tensors: {config.ilora.heads} heads of rank {config.ilora.rank}")
    )
    paths = {"base": release.base, "finetune": release.finetune, "sam2": release.sam2}
    sources = {role: sizes_of(path) for role, path in paths.items() if path is not None}
    header = Header(
        name=choices.name,
        family="crab-plus",
        config=config.to_dict(),
        licence=LICENCE.format(" and SAM 2" if sam2.facts else ""),
        profile=PLUS,
        note=note,
        tasks=TASKS,
        training={"imported": sources, "adapter_tensors": opened.adapter_tensors, "tables": config.tables},
        parts=sam2.facts,
    )
    text = json.dumps({"left_out": list(opened.left_out)}, indent=1) + "\n"
    return write_streamed(out, header, files, {**tokens, MAP: text.encode()}, on_progress, copies=sam2.copies)


def _config(opened: PlusOpened, release: PlusRelease, choices: PlusChoices) -> PlusConfig:
    heads, rank = shape_of(opened.adapter)  # type: ignore[arg-type]  # shapes are all that it reads
    alpha = choices.alpha or alpha_beside(release.finetune) or PUBLISHED_SCALE * rank
    try:
        return PlusConfig(
            thinker=opened.thinker,
            ilora=ILoraConfig(heads=heads, rank=rank, alpha=alpha, dropout=DROPOUT),
            media=PlusMedia(profile=choices.media),
            tables=choices.tables,
        )
    except ValueError as err:
        raise ModelError(f"'{release.base}' is no base of Crab+: {err}", hint="Fetch the files again.") from err


def _tokens(release: PlusRelease, opened: PlusOpened, on_progress: Listener) -> tuple[Mapping[str, bytes], str]:
    """The tokenizer's files, and what every result should say of them."""
    vocabulary = opened.base["model.embed_tokens.weight"].shape[0]
    thinker: dict[str, Any] = dict(opened.thinker)
    found = tokenizer_files(release.tokenizer or release.base, thinker, vocabulary)
    if found:
        return found, ""
    found = byte_files(thinker, vocabulary)
    if found:
        return found, BYTES_NOTE
    on_progress(Note(f"'{release.base}' has no tokenizer: the model cannot be asked until --tokenizer gives one"))
    return {}, ""
