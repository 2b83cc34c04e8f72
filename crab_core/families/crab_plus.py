"""The Crab+ family: a model folder becomes a network that wraps Qwen2.5-Omni's thinker.

Source: Crab+ (arXiv 2603.04128).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crab_core.errors import ModelError
from crab_core.families._base import Needs, Precision
from crab_core.families.loading import fill
from crab_core.families.plus_network import PlusNetwork
from crab_core.families.plus_text import PlusChat
from crab_core.families.steps import steps_for
from crab_core.nn.plus import PlusModel
from crab_core.nn.plus_config import PlusConfig
from crab_core.nn.stored import without_weights
from crab_core.progress import Listener, ignore
from crab_core.weights.folder import Header, read_header
from crab_core.weights.plus_release import PlusChoices, PlusRelease

__all__ = ["FAMILY", "CrabPlusFamily"]


@dataclass(frozen=True, slots=True)
class CrabPlusFamily:
    """Implements `families._base.Family`."""

    name: str = "crab-plus"

    def load(self, folder: Path, precision: Precision) -> PlusNetwork:
        """The network of a model folder, in evaluation mode; all of it, adapters too, in the dtype that is asked for.

        Raises ModelError if the header or a file is damaged or the header's numbers differ from the tensors',
        WeightsMismatch if tensors are lacking or unknown.
        """
        header = read_header(folder)
        config = config_of(header.config, folder)
        model = empty_model(config, folder)
        fill(model, config, folder, header, precision)
        return PlusNetwork(header.name, model, PlusChat.read(folder, config.system), steps_for(precision))

    def needs(self, folder: Path, precision: Precision, new_tokens: int) -> Needs:
        """The memory for one clip and an answer of that many tokens: see `plus_needs`."""
        from crab_core.families.plus_needs import needs_of

        header = read_header(folder)
        return needs_of(config_of(header.config, folder), folder, header, precision, new_tokens)

    def quantize_folder(self, folder: Path, kind: str, out: Path, on_progress: Listener = ignore) -> Header:
        """Writes the folder again with the text decoder's linears packed; the towers stay as they were stored."""
        from crab_core.families.crab_quantized import quantize_folder

        config = config_of(read_header(folder).config, folder)
        return quantize_folder(empty_model(config, folder), folder, kind, out, on_progress)

    def import_release(
        self, release: PlusRelease, choices: PlusChoices, out: Path, on_progress: Listener = ignore
    ) -> Header:
        """Writes a model folder from the published files: see `plus_import.import_plus`."""
        from crab_core.families.plus_import import import_plus

        return import_plus(release, choices, out, on_progress)


def config_of(document: Mapping[str, Any], folder: Path) -> PlusConfig:
    """The config in a header; raises ModelError naming the folder if it is impossible."""
    try:
        return PlusConfig.from_dict(document)
    except (ValueError, TypeError) as err:
        raise _no_network(folder, err) from err


def empty_model(config: PlusConfig, folder: Path) -> PlusModel:
    """The network of a config without weights; raises ModelError naming the folder if there can be none."""
    try:
        with without_weights():
            return PlusModel(config)
    except (ValueError, TypeError, ArithmeticError, RuntimeError, AttributeError, KeyError) as err:
        raise _no_network(folder, err) from err


def _no_network(folder: Path, err: Exception) -> ModelError:
    told = f"the header in '{folder}' describes no Crab+ network: {err}"
    return ModelError(told, hint="Fetch or convert the model again.")


FAMILY = CrabPlusFamily()
