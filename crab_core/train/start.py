"""A model folder to start from, and the folders that a run writes from it: only files whose tensors learn are new.

What did not learn is linked to (or copied from) the start, so that a checkpoint of an adapter beside a 7B model costs
the adapter's size. A run on packed weights (QLoRA) starts from a folder in full precision and writes one like it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from crab_core.errors import ModelError, ResourceError, UsageError
from crab_core.families._base import Precision
from crab_core.nn.crab import CrabModel
from crab_core.nn.crab_config import ILoraConfig
from crab_core.nn.plus import PlusModel
from crab_core.registry import FAMILIES
from crab_core.train.network import only_train
from crab_core.weights.folder import DOMAIN, HEADER, FileFact, Header, read_header
from crab_core.weights.lazy import close_files, open_file

if TYPE_CHECKING:
    from crab_core.train.roles import OpenNetwork
    from crab_core.train.settings import Stage

LEARN = ("crab", "crab-plus")  # the families whose networks can be trained from files
ADDED = "trained{}.safetensors"  # tensors that the start does not have


@dataclass(frozen=True)
class Start:
    """A model folder opened for training: its network in evaluation mode with everything frozen."""

    folder: Path
    header: Header
    network: OpenNetwork

    @property
    def model(self) -> CrabModel | PlusModel:
        """The network's modules."""
        return self.network.model


def open_start(folder: Path, precision: Precision) -> Start:
    """Loads the folder; raises UsageError for a model of another family, what loading raises for a damaged one."""
    header = read_header(folder)
    if header.family not in LEARN:
        raise UsageError(
            f"a model of the family '{header.family}' cannot be trained",
            hint=f"Start from one of the families {', '.join(LEARN)}.",
        )
    network: OpenNetwork = FAMILIES[header.family].load().load(folder, precision)
    return Start(folder, header, network)


def no_network(folder: Path, err: Exception) -> ModelError:
    """The error for a folder whose numbers are impossible."""
    told = f"the header in '{folder}' describes no Crab network: {err}"
    return ModelError(told, hint="Fetch or convert the model again.")


def learn(start: Start, stage: Stage) -> int:
    """Lets the parts of a stage learn, in float32, its adapter added if there is none; gives how many parameters.

    Raises UsageError for an adapter of another shape than the model has,
    and for parts that the model lacks.
    """
    model = start.model
    if stage.ilora is not None:
        wanted = dict(stage.ilora)
        if model.config.ilora is None:
            model.add_ilora(ILoraConfig(**wanted))
            model.llm.to(next(model.parameters()).device)
        else:
            _same_shape(model, wanted)
            _drop_as(model, wanted)
    lacking = [part for part in stage.train if not only_train(model, [part])]
    if lacking:
        hint = "Give the stage an adapter: ilora: {heads: 3, rank: 8}" if "ilora" in lacking else "Leave them out."
        raise UsageError(f"model '{start.header.name}' has no {', '.join(lacking)} to train", hint=hint)
    learning = only_train(model, stage.train)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return learning


def write_tuned(
    start: Start,
    folder: Path,
    tasks: Iterable[str],
    training: Mapping[str, Any],
    name: str,
    learnt: Mapping[str, torch.Tensor],
) -> None:
    """Writes a model folder at a place where nothing is; `learnt` are whole weights by their names in the network.

    Raises ResourceError if the disk does not take it.
    """
    learning = [key for key, one in start.model.named_parameters() if one.requires_grad]
    own = {start.model.stored_name(key): learnt[key] for key in learning}
    own |= {name: one for name, one in _statistics(start.model) if _is_of(name, own)}
    try:
        folder.mkdir(parents=True)
        facts = {}
        for file, fact in start.header.files.items():
            if file == DOMAIN:
                continue  # what it learnt from now is something else
            facts[file] = _write_file(start, file, fact, own, folder)
        if own:
            added = next(name for number in count() if (name := ADDED.format(number or "")) not in facts)
            facts[added] = _save({key: one.detach().cpu() for key, one in own.items()}, folder / added)
        known = dict.fromkeys([*start.header.tasks, *tasks])
        header = dataclasses.replace(
            start.header,
            name=name,
            config=start.model.config.to_dict(),
            tasks=tuple(known) if start.header.tasks else (),
            training=training,
            files=facts,
        )
        text = json.dumps(header.to_dict(), indent=1, ensure_ascii=False) + "\n"
        (folder / HEADER).write_text(text, encoding="utf-8")
    except OSError as err:
        raise ResourceError(
            f"cannot write the model folder '{folder}': {err.strerror or err}", hint="Check the disk."
        ) from err
    finally:
        close_files()


def _same_shape(model: CrabModel | PlusModel, wanted: Mapping[str, Any]) -> None:
    ilora = model.config.ilora
    assert ilora is not None
    for key in ("heads", "rank"):
        if key in wanted and wanted[key] != getattr(ilora, key):
            raise UsageError(
                f"the model has an adapter with {key} {getattr(ilora, key)}, and the stage asks for {wanted[key]}",
                hint="Leave 'ilora' out to train the one that is there.",
            )


def _drop_as(model: CrabModel | PlusModel, wanted: Mapping[str, Any]) -> None:
    """Gives the adapter that is there the stage's dropout."""
    from crab_core.nn.ilora import layers

    assert model.config.ilora is not None
    chosen = {key: wanted[key] for key in ("dropout", "per_head_dropout") if key in wanted}
    ilora = dataclasses.replace(model.config.ilora, **chosen)
    model.take_ilora(ilora)
    for layer in layers(model.llm):
        for name in layer.heads:
            layer.ilora_dropout[name] = torch.nn.Dropout(ilora.dropout)
            layer.per_head_dropout[name] = ilora.per_head_dropout


def _statistics(model: CrabModel | PlusModel) -> list[tuple[str, torch.Tensor]]:
    return [(model.stored_name(name), one) for name, one in model.named_buffers()]


def _is_of(buffer: str, own: Mapping[str, torch.Tensor]) -> bool:
    """True for a buffer of a module whose parameters learn."""
    parent = buffer.rpartition(".")[0]
    return any(name.rpartition(".")[0] == parent for name in own)


def _write_file(start: Start, file: str, fact: FileFact, own: dict[str, torch.Tensor], folder: Path) -> FileFact:
    """Links to the start's file, or writes it with what was learnt, which is then taken out of `own`."""
    source = start.folder / file
    tensors = open_file(source) if file in start.header.weights else {}
    (folder / file).parent.mkdir(exist_ok=True)  # of a part
    learnt = own.keys() & tensors.keys()
    if not learnt:
        try:
            os.link(source, folder / file)
        except OSError:
            shutil.copyfile(source, folder / file)
        return fact
    made = {}
    for name, lazy in tensors.items():
        stored = own.pop(name).detach().cpu().to(lazy.dtype) if name in learnt else lazy.read()
        made[name] = stored
    return _save(made, folder / file)


def _save(tensors: Mapping[str, torch.Tensor], path: Path) -> FileFact:
    from safetensors.torch import save

    data = save({name: one.contiguous() for name, one in tensors.items()})
    path.write_bytes(data)
    return FileFact(hashlib.sha256(data).hexdigest(), len(data))
