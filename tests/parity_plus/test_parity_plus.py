"""The Crab+ network against the published modelling code, on a tiny random model of the same architecture.

`model.safetensors`, `config.json` and `finetune_weights.bin` are in the published layout; `cases.safetensors` holds
inputs and what the published code made of them in float32 (`c`, `d`, `e`, `h`: logits with the adapter, of every few
positions; `q`: with tables of positions made in bfloat16; `t`: a training step), `positions.safetensors` positions of
prompts with other media. Media are given as 8-bit pixels and 16-bit sound.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from crab_core.engine.session import load
from crab_core.families.crab_prefix import Prompts, whole
from crab_core.families.decoding import write
from crab_core.families.plus_import import import_plus
from crab_core.nn.crab_config import ILoraConfig
from crab_core.nn.ilora import from_published, shape_of
from crab_core.nn.plus import PlusModel
from crab_core.nn.plus_config import PlusConfig, PlusMedia
from crab_core.nn.plus_media import log_mel, patches
from crab_core.nn.plus_positions import Grid, positions
from crab_core.nn.splice import Row, Spliced, Splicer
from crab_core.nn.stored import without_weights
from crab_core.types import Decoding, Medium
from crab_core.weights.plus_release import PlusChoices, PlusRelease

DATA = Path(__file__).parent
MEDIA: Mapping[int, Medium] = {260: "audio", 266: "image", 267: "video"}
PAD = 256
GRIDS: Mapping[Medium, Grid] = {"image": Grid(8, 8), "video": Grid(8, 8, 2.0)}
TWELVE = Decoding(max_new_tokens=12)


@pytest.fixture(scope="module")
def cases() -> dict[str, torch.Tensor]:
    return load_file(DATA / "cases.safetensors")


@cache
def network(tables: str) -> PlusModel:
    found = torch.load(DATA / "finetune_weights.bin", weights_only=True)
    adapter = {key.removeprefix("base_model.model."): one for key, one in from_published(found).items()}
    heads, rank = shape_of(adapter)
    thinker = json.loads((DATA / "config.json").read_text())
    config = PlusConfig(thinker, ILoraConfig(heads, rank, 2.0 * rank, 0.0), tables=tables)
    with without_weights():
        model = PlusModel(config)
    model.load_tensors({**load_file(DATA / "model.safetensors"), **adapter}, "tiny")
    return model.eval()


@pytest.fixture(scope="module")
def model() -> PlusModel:
    return network("float32")


def pixels(images: torch.Tensor) -> torch.Tensor:
    """Frames (N, 3, H, W) as patches; the published run read them in float16."""
    found, _ = patches(images.permute(0, 2, 3, 1).contiguous().numpy(), PlusMedia())
    return found.half().float()


def sound(cases: dict[str, torch.Tensor], name: str) -> torch.Tensor:
    return log_mel(cases[f"{name}.waveform"].numpy().astype(np.float32) / 32768)


def media(model: PlusModel, cases: dict[str, torch.Tensor]) -> dict[Medium, torch.Tensor]:
    return {
        "image": model.see(pixels(cases["a.image_u8"][None]), (1, 16, 16)),
        "video": model.see(pixels(cases["a.frames_u8"]), (5, 16, 16)),
        "audio": model.hear(sound(cases, "d"))[None],
    }


def second_media(model: PlusModel, cases: dict[str, torch.Tensor]) -> dict[Medium, torch.Tensor]:
    """What the second row of case h sees: the first two frames as one picture."""
    picture = pixels(cases["a.frames_u8"])[:256]
    return {"image": model.see(picture, (1, 16, 16)), "audio": model.hear(cases["h.mel"])[None]}


def ids_of(row: torch.Tensor, mask: torch.Tensor | None = None) -> list[int]:
    """The ids with one placeholder for each medium, as a chat gives them."""
    ids = row.tolist() if mask is None else row[mask.bool()].tolist()
    return [one for place, one in enumerate(ids) if one not in MEDIA or one != ids[place - 1]]


def spliced(
    model: PlusModel, rows: list[list[int]], given: list[Mapping[Medium, torch.Tensor]]
) -> tuple[Spliced, torch.Tensor]:
    made = Splicer(MEDIA, PAD)([Row(row, 0, one) for row, one in zip(rows, given, strict=True)], model.embed)
    length = made.embeds.shape[1]
    return made, torch.stack([positions(one, length, GRIDS) for one in made.stretches], dim=1)


def logits(model: PlusModel, made: Spliced, stands: torch.Tensor) -> torch.Tensor:
    return model.logits(model.read(made.embeds, made.attention_mask, stands))


def apart(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).detach().abs().max())


@torch.inference_mode()
def test_towers_see_and_hear_the_same(model, cases):
    seen = media(model, cases)
    assert apart(seen["image"].flatten(0, 1)[::2], cases["a.image_features"]) <= 1e-5
    assert apart(seen["video"].flatten(0, 1)[::5], cases["a.video_features"]) <= 1e-5
    mel = sound(cases, "b")
    assert apart(mel[:, ::25], cases["b.mel"]) <= 1e-6
    assert apart(model.hear(mel)[::2], cases["b.features"]) <= 1e-5


@torch.inference_mode()
def test_a_text_is_read_the_same_with_padding_on_its_left(model, cases):
    mask = cases["c.attention_mask"]
    rows = [ids_of(row, kept) for row, kept in zip(cases["c.input_ids"], mask, strict=True)]
    found = logits(model, *spliced(model, rows, [{}, {}]))[:, ::4]
    read = mask[:, ::4].bool()
    assert apart(found[read], cases["c.logits"][read]) <= 3e-4


@pytest.mark.parametrize(("case", "step"), [pytest.param("d", 8, id="image-sound"), pytest.param("e", 16, id="video")])
@torch.inference_mode()
def test_a_prompt_with_media_gives_the_same_logits_and_text(model, cases, case, step):
    made, stands = spliced(model, [ids_of(cases[f"{case}.input_ids"][0])], [media(model, cases)])
    assert torch.equal(stands, cases[f"{case}.position_ids"])
    assert apart(logits(model, made, stands)[:, ::step], cases[f"{case}.logits"]) <= 3e-4
    written = write(model, whole(model, Prompts(made, stands)), TWELVE, frozenset())
    assert written == cases[f"{case}.generated"].tolist()


@torch.inference_mode()
def test_a_batch_padded_on_the_left_gives_the_same(model, cases):
    rows = [ids_of(row, kept) for row, kept in zip(cases["h.input_ids"], cases["h.attention_mask"], strict=True)]
    made, stands = spliced(model, rows, [media(model, cases), second_media(model, cases)])
    assert torch.equal(stands, cases["h.position_ids"])
    assert torch.equal(made.attention_mask, cases["h.attention_mask"])
    read = made.attention_mask[1, ::8].bool()
    assert apart(logits(model, made, stands)[1, ::8][read], cases["h.logits_row1"][read]) <= 3e-4
    written = write(model, whole(model, Prompts(made, stands)), TWELVE, frozenset())
    assert written == cases["h.generated"].tolist()


@torch.inference_mode()
def test_tables_made_in_bfloat16_give_what_the_published_runs_had(cases):
    model = network("bfloat16")
    seen = media(model, cases)
    assert apart(seen["image"].flatten(0, 1)[::4], cases["q.image_features"]) <= 1e-5
    assert apart(model.hear(sound(cases, "b"))[::4], cases["q.sound_features"]) <= 1e-5
    for case in ("d", "e"):
        made, stands = spliced(model, [ids_of(cases[f"{case}.input_ids"][0])], [seen])
        assert apart(logits(model, made, stands)[:, -32::4], cases[f"q.{case}.logits"]) <= 3e-4
        written = write(model, whole(model, Prompts(made, stands)), TWELVE, frozenset())
        assert written == cases[f"q.{case}.generated"].tolist()


@torch.inference_mode()
def test_an_imported_folder_answers_through_transformers_own_forward(cases, tmp_path):
    release = PlusRelease(DATA, DATA / "finetune_weights.bin")
    import_plus(release, PlusChoices(), tmp_path / "model")
    thinker = load(tmp_path / "model", device="cpu").network.model.thinker
    mel, ids = sound(cases, "d")[None], cases["d.input_ids"]
    given = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": pixels(cases["a.image_u8"][None]),
        "image_grid_thw": torch.tensor([[1, 16, 16]]),
        "input_features": mel,
        "feature_attention_mask": torch.ones(1, mel.shape[-1], dtype=torch.long),
    }
    assert apart(thinker(**given).logits[:, ::8], cases["d.logits"]) <= 3e-4
    written = thinker.generate(**given, max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=PAD)
    assert written[:, ids.shape[1] :].tolist() == cases["d.generated"].tolist()


def test_a_training_step_has_the_same_loss_and_gradients(cases):
    model = network("float32")
    adapters = {model.stored_name(name): one for name, one in model.named_parameters() if "ilora_" in name}
    model.requires_grad_(False)
    for one in adapters.values():
        one.requires_grad_(True).grad = None
    made, stands = spliced(model, [ids_of(cases["t.input_ids"][0])], [media(model, cases)])
    found = logits(model, made, stands)[0, :-1]
    loss = torch.nn.functional.cross_entropy(found, cases["t.labels"][0, 1:])
    loss.backward()
    assert apart(loss, cases["t.loss"][0]) <= 2e-5
    assert all(one.grad is not None for one in adapters.values()), "towers learn too"
    prefix = "t.grad.base_model.model."
    wanted = from_published({key.removeprefix(prefix): one for key, one in cases.items() if key.startswith(prefix)})
    assert len(wanted) == 15
    for name, gradient in wanted.items():
        assert apart(adapters[name].grad, gradient) <= 1e-4 * float(gradient.abs().max()), name
    model.requires_grad_(False)


@pytest.mark.parametrize("case", ["a2v", "v2a", "emotion_4frames", "audio_only"])
def test_positions_of_other_prompts(model, case):
    kept = load_file(DATA / "positions.safetensors")
    row = kept[f"{case}.input_ids"][0]
    steps = int(kept[f"{case}.video_grid_thw"][0, 0]) if f"{case}.video_grid_thw" in kept else 0
    given = {"audio": torch.zeros(1, int((row == 260).sum()), 64), "video": torch.zeros(steps, 64, 64)}
    _, stands = spliced(model, [ids_of(row)], [given])
    assert torch.equal(stands, kept[f"{case}.position_ids"])
