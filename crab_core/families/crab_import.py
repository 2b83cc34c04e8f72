"""The published files of Crab-7B become one model folder: text, masks and semantic masks in it.

Every number comes from the tensors where a tensor tells it, else from the publishers' config files; every published
tensor is renamed or named as left out. What no file holds is filled in: rows of the added tokens, random directions of
the mask decoder's positions. Source: Crab (arXiv 2503.13068); values drawn again from its seed, 42.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crab_core.errors import ModelError, UsageError
from crab_core.families.crab_masks import TASK_CAPABILITY
from crab_core.families.crab_sizes import config_for
from crab_core.families.crab_tokens import ADDED_COUNT, tokenizer_files
from crab_core.families.importing import check_names, sharded, sizes_of
from crab_core.families.sam2_part import LICENCE as SAM2_LICENCE
from crab_core.families.sam2_part import sam2_part
from crab_core.nn.capability import CAPABILITIES
from crab_core.nn.crab import UNBUILDABLE, CrabModel
from crab_core.nn.ilora import from_published
from crab_core.nn.stored import without_weights
from crab_core.progress import Listener, Note, ignore
from crab_core.weights.folder import Header
from crab_core.weights.lazy import LazyTensor, open_file
from crab_core.weights.release import VARIANTS, Choices, Opened, Release, open_release
from crab_core.weights.streaming import check_place, write_streamed

if TYPE_CHECKING:
    from crab_core.nn.crab_config import CrabConfig

__all__ = ["Choices", "Release", "import_crab"]
SHIPPED = Path(__file__).parents[1] / "weights" / "assets" / "crab_seed42_heads3.safetensors"
ROWS = {"llm.model.embed_tokens.weight": "embed_tokens.new_rows", "llm.lm_head.weight": "lm_head.new_rows"}
DIRECTIONS = {
    "positions.0.directions": "seg_module.pe_layer.positional_encoding_gaussian_matrix",
    "positions.1.directions": "seg_module.mask_decoder.pe1.positional_encoding_gaussian_matrix",
}
TABLES = {"llm.model.embed_tokens.weight": "tokens.weight", "llm.lm_head.weight": "head.weight"}
TEXT_TASKS = ("avqa", "ave", "avvp", "arig", "avcap")
LICENCE = "the Llama 2 Community License for the base{}; for the rest see its publisher"
MAP = "import.json"
DRAWN = "drawn"
DRAWN_NOTE = "rows of the added tokens were in no file and were drawn at random when this model was imported"


def import_crab(release: Release, choices: Choices, out: Path, on_progress: Listener = ignore) -> Header:
    """Writes the model folder and gives its header. The same files and choices always give the same bytes.

    Memory holds one tensor at a time. Raises ModelError for files that are missing, damaged or of another model,
    WeightsMismatch for tensors that the network lacks or does not know, UsageError for a place that is taken,
    ResourceError if the disk is too small; nothing is left behind then.
    """
    check_place(out)
    filler = Filler.of(choices.positions)
    sam2 = sam2_part(release.sam2)
    opened = open_release(release, from_published)
    try:
        config = config_for(opened, choices.mask_layers, choices.alpha, _variant(choices))
        with without_weights():
            model = CrabModel(config)
    except UNBUILDABLE as err:
        why = f"{err} is not known" if isinstance(err, KeyError) else str(err)
        raise ModelError(f"the files do not make one network: {why}", hint="Fetch the files again.") from err
    vocabulary = opened.tensors["llm"]["llm.model.embed_tokens.weight"].shape[0]
    tokens = tokenizer_files(release.tokenizer or release.llm, vocabulary)
    files = _files(opened, config, filler, on_progress)
    check_names(files, model, release.finetune)
    header = Header(
        name=choices.name,
        family="crab",
        config=config.to_dict(),
        licence=LICENCE.format(f", {SAM2_LICENCE} for SAM 2" if sam2.facts else ""),
        profile=choices.profile,
        note=DRAWN_NOTE if filler.rows_told == DRAWN else "",
        tasks=(*TEXT_TASKS, *_mask_tasks(config)),
        training={"imported": _sources(release), "positions": _variant(choices), "rows": filler.rows_told},
        parts=sam2.facts,
    )
    record = {"left_out": {role: list(names) for role, names in opened.left_out.items()}}
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    return write_streamed(out, header, files, {**tokens, MAP: text.encode()}, on_progress, copies=sam2.copies)


def _mask_tasks(config: CrabConfig) -> list[str]:
    held = config.mask.capabilities if config.mask is not None else ()
    return [task for task, capability in TASK_CAPABILITY.items() if capability in held]


class Filler:
    """Values that no published file holds: of a shipped variant, or of the user's file."""

    def __init__(self, values: Mapping[str, LazyTensor], variant: str) -> None:
        self._values, self._variant = values, variant
        self.rows_told = variant

    @classmethod
    def of(cls, positions: str) -> Filler:
        """The values of `train`, `infer`, or of a safetensors file; raises UsageError if it is none of them."""
        if positions in VARIANTS:
            return cls(open_file(SHIPPED), positions)
        if not Path(positions).is_file():
            raise UsageError(f"no file '{positions}'", hint=f"Use --positions {' or '.join(VARIANTS)}, or a file.")
        return cls(open_file(Path(positions)), "")

    def directions(self, name: str, width: int) -> LazyTensor:
        """The random directions (2, width / 2) of one level; raises ModelError if there are none of that size."""
        found = self._find(DIRECTIONS[name], (2, width // 2))
        if found is None:
            raise ModelError(
                f"no position matrices are known for a mask decoder of width {width}",
                hint="Give a safetensors file that holds them: --positions FILE",
            )
        return found

    def rows(self, table: str, width: int, beside: LazyTensor | None, on_progress: Listener) -> LazyTensor:
        """The rows of the added tokens: the known ones, else those of the mask weights, else drawn from a seed."""
        shape = (ADDED_COUNT, width)
        found = self._find(ROWS[table], shape)
        if found is not None:
            return found
        if beside is not None:
            self.rows_told = "of the mask weights"
            on_progress(Note(f"rows of the added tokens in '{table}' are taken from the mask weights"))
            return LazyTensor(shape, beside.dtype, beside.path, lambda: beside.read()[-ADDED_COUNT:])
        self.rows_told = DRAWN
        on_progress(Note(f"rows of the added tokens in '{table}' are in no file and were drawn at random"))
        return LazyTensor(shape, torch.float32, SHIPPED, lambda: _drawn_rows(shape))

    def _find(self, ending: str, shape: tuple[int, ...]) -> LazyTensor | None:
        wanted = f"{self._variant}.{ending}" if self._variant else ending
        for key, lazy in self._values.items():
            if (key == wanted or (not self._variant and key.endswith(f".{ending}"))) and lazy.shape == shape:
                return lazy
        return None


def _drawn_rows(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(42)) * 0.02


def _variant(choices: Choices) -> str:
    return choices.positions if choices.positions in VARIANTS else "file"


def _files(
    opened: Opened, config: CrabConfig, filler: Filler, on_progress: Listener
) -> dict[str, dict[str, LazyTensor]]:
    """Every tensor of the folder by its file; the LLM in files of at most 2 GiB."""
    parts = opened.tensors
    llm = dict(parts["llm"])
    for table in ROWS:
        if table in llm:
            beside = parts["avs"].get(table) if "avs" in parts else None
            llm[table] = _lengthened(llm[table], filler.rows(table, llm[table].shape[1], beside, on_progress))
    tower = max(config.visual.options["layers"])
    eyes = {name: lazy for name, lazy in parts["clip"].items() if not _is_behind(name, tower)}
    files = sharded(llm, "llm")
    files["encoders.safetensors"] = {**eyes, **parts["beats"]}
    files["adapters.safetensors"] = dict(parts["finetune"])
    for capability in CAPABILITIES:
        if capability in parts:
            assert config.mask is not None
            files[f"{capability}.safetensors"] = _capability(
                capability, parts[capability], filler, config.mask.decoder.width
            )
    return files


def _capability(name: str, tensors: Mapping[str, LazyTensor], filler: Filler, width: int) -> dict[str, LazyTensor]:
    """Its tensors under `capabilities.NAME.`, with the directions that no checkpoint holds."""
    own = {TABLES.get(key, key): lazy for key, lazy in tensors.items()}
    for level in DIRECTIONS:
        own.setdefault(f"mask_decoder.{level}", filler.directions(level, width))
    return {f"capabilities.{name}.{key}": lazy for key, lazy in own.items()}


def _lengthened(table: LazyTensor, rows: LazyTensor) -> LazyTensor:
    """The table with more rows at its end, in the table's dtype."""

    def read() -> torch.Tensor:
        return torch.cat([table.read(), rows.read().to(table.dtype)])

    return LazyTensor((table.shape[0] + rows.shape[0], *table.shape[1:]), table.dtype, table.path, read)


def _is_behind(name: str, last: int) -> bool:
    """True for a layer of the tower that nothing reads: the LLM sees the state before it."""
    head, _, rest = name.partition("encoder.layers.")
    return bool(rest) and "tower" in head and int(rest.partition(".")[0]) >= last


def _sources(release: Release) -> dict[str, Any]:
    """The names and sizes of the files that were read; no folders, so that the same files give the same header."""
    named = {role: getattr(release, role) for role in ("llm", "clip", "beats", "finetune", "avs", "avss", "sam2")}
    return {role: sizes_of(Path(path)) for role, path in named.items() if path is not None}
