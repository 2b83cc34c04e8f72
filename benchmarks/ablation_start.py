"""What the base of the ablation starts from: mini's senses, and in place of its LLM a new one that has read nothing."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import torch
from ablation_arms import MINI, START

from crab_core.config import load_config
from crab_core.nn.crab import CrabModel
from crab_core.train.network import ROW_SCALE, SENSES, new_model, part_of, read_model, write_model
from crab_core.train.settings import TrainSettings


def write_start(run: Path, config: Path) -> None:
    """Puts the stage START and mini's tokenizer into the folder of a run, once; `config` is the run's YAML file."""
    from transformers import PreTrainedTokenizerFast

    if (run / START / "crab.json").exists():
        return
    settings = load_config(TrainSettings, config, [])
    tokenizer = PreTrainedTokenizerFast.from_pretrained(MINI)
    model = new_start(settings, tokenizer)
    tokenizer.save_pretrained(run / "tokenizer")
    with tempfile.TemporaryDirectory(dir=run) as parking:
        write_model(model, tokenizer, Path(parking) / START, settings, {"stage": START})
        shutil.move(Path(parking) / START, run / START)


def new_start(settings: TrainSettings, tokenizer: object) -> CrabModel:
    """A network with random weights by the run's seed, but for the senses, which are mini's.

    mini's projectors were scaled down once, when its LLM was new; the trainer does that for a new LLM again, so that
    it is taken back here.
    """
    assert settings.network is not None
    torch.manual_seed(settings.seed)
    model = new_model(settings.network, tokenizer)  # type: ignore[arg-type]
    senses = {name: one for name, one in read_model(MINI).state_dict().items() if part_of(name) in SENSES}
    own = model.state_dict()
    if differ := set(senses) ^ {name for name in own if part_of(name) in SENSES}:
        raise ValueError(f"the senses of mini are others than the network's: {sorted(differ)}")
    model.load_state_dict({**own, **senses})
    with torch.no_grad():
        for projector in (model.vl_projector, model.al_projector):
            projector.mlp[-1].weight.div_(ROW_SCALE)
            projector.mlp[-1].bias.div_(ROW_SCALE)
    return model
