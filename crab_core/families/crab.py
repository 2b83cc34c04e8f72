"""The Crab family: a model folder becomes a network. The small embedded model and Crab-7B are of this family.

Source: Crab (arXiv 2503.13068).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crab_core.errors import ModelError
from crab_core.families._base import Choice, Needs, Precision
from crab_core.families.crab_network import CrabNetwork
from crab_core.families.crab_text import Chat
from crab_core.families.loading import fill
from crab_core.families.steps import steps_for
from crab_core.nn.crab import UNBUILDABLE, CrabModel
from crab_core.nn.crab_config import CrabConfig
from crab_core.nn.domain import Domain
from crab_core.nn.stored import without_weights
from crab_core.progress import Listener, ignore
from crab_core.weights.folder import DOMAIN, REPAIR, Header, read_domain, read_header
from crab_core.weights.release import Choices, Release

__all__ = ["FAMILY", "CrabFamily"]
LLM_NEEDS = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")


@dataclass(frozen=True, slots=True)
class CrabFamily:
    """Implements `families._base.Family`."""

    name: str = "crab"

    def load(self, folder: Path, precision: Precision) -> CrabNetwork:
        """The network of a model folder, in evaluation mode, quantised if asked for.

        Raises ModelError if the header or a file is damaged or the header's numbers differ from the tensors',
        WeightsMismatch if tensors are lacking or unknown.
        """
        header = read_header(folder)
        config = config_of(header.config, folder)
        model = _empty_model(config, folder)
        fill(model, config, folder, header, precision)
        chat, steps = Chat.read(folder, config.system), steps_for(precision)
        return CrabNetwork(header.name, model, chat, steps, domain_of(folder, header, config, precision.device))

    def needs(self, folder: Path, precision: Precision, new_tokens: int) -> Needs:
        """The memory for one clip and an answer of that many tokens: see `crab_needs`."""
        from crab_core.families.crab_needs import needs_of

        header = read_header(folder)
        return needs_of(config_of(header.config, folder), folder, header, precision, new_tokens)

    def choices(self, network: CrabNetwork, header: Header) -> tuple[Choice, ...]:
        """Every profile, pair of layers and position variant: see `crab_choices`."""
        from crab_core.families.crab_choices import choices_of

        return choices_of(network.model, header)

    def choosing(self, network: CrabNetwork, choice: Choice) -> AbstractContextManager[None]:
        """Within the block the network computes as if that had been chosen."""
        from crab_core.families.crab_choices import choosing

        return choosing(network.model, choice)

    def write_choice(self, folder: Path, choice: Choice) -> Header:
        """Makes it the choice of a model folder."""
        from crab_core.families.crab_choices import write_choice

        return write_choice(folder, choice)

    def quantize_folder(self, folder: Path, kind: str, out: Path, on_progress: Listener = ignore) -> Header:
        """Writes the folder again with the LLM's linears packed: see `crab_quantized.quantize_folder`."""
        from crab_core.families.crab_quantized import quantize_folder

        config = config_of(read_header(folder).config, folder)
        return quantize_folder(_empty_model(config, folder), folder, kind, out, on_progress)

    def import_release(self, release: Release, choices: Choices, out: Path, on_progress: Listener = ignore) -> Header:
        """Writes a model folder from the published files: see `crab_import.import_crab`."""
        from crab_core.families.crab_import import import_crab

        return import_crab(release, choices, out, on_progress)


def config_of(document: Mapping[str, Any], folder: Path) -> CrabConfig:
    """The config in a header; raises ModelError naming the folder if it is impossible."""
    try:
        config = CrabConfig.from_dict(document)
        lacking = [name for name in LLM_NEEDS if name not in config.llm]
        if lacking:
            raise ValueError(f"'llm' lacks {lacking}")
    except ValueError as err:
        raise _no_network(folder, err) from err
    return config


def domain_of(folder: Path, header: Header, config: CrabConfig, device: str) -> Domain | None:
    """What the training's pictures were like, if the folder tells; raises ModelError if that fits no such network."""
    tensors = read_domain(folder, header)
    if not tensors:
        return None
    try:
        domain = Domain.from_tensors(tensors)
        if len(domain.mean) != config.vl.encoder_width:
            raise ValueError(f"it is of {len(domain.mean)} numbers, and the encoder gives {config.vl.encoder_width}")
    except ValueError as err:
        raise ModelError(f"'{folder / DOMAIN}' fits no Crab network: {err}", hint=REPAIR) from err
    return domain.to(device)


def _empty_model(config: CrabConfig, folder: Path) -> CrabModel:
    try:
        with without_weights():
            return CrabModel(config)
    except UNBUILDABLE as err:
        raise _no_network(folder, err) from err


def _no_network(folder: Path, err: Exception) -> ModelError:
    why = f"{err} is not known" if isinstance(err, KeyError) else str(err)
    told = f"the header in '{folder}' describes no Crab network: {why}"
    return ModelError(told, hint="Fetch or convert the model again.")


FAMILY = CrabFamily()
