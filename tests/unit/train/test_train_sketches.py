"""Sketches of masks: what they are of, that a decoder learns to draw from them, and that states learn to tell them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from crab_core.nn.mask_decoder import MaskDecoder
from crab_core.train.pool import Pool, PoolPlan, open_pool
from crab_core.train.settings import Stage
from crab_core.train.shares import Batch
from crab_core.train.sketches import SIDE, MaskStage, SketchReader, directions, rough_sketches, sketch
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    from crab_core.nn.crab import CrabModel

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CELL = 8  # points of a map that is 56 wide


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return open_pool(PoolPlan("train", 4, seed=3), tmp_path_factory.mktemp("pool"))


@pytest.fixture(scope="module")
def scenes(pool: Pool) -> list[Scene]:
    return [pool.plan.scene(at) for at in range(len(pool))]


@pytest.fixture
def model(tiny_run: Path) -> CrabModel:
    from crab_core.train.network import read_model

    return read_model(tiny_run / "model")


def block(top: int, left: int, height: int = CELL, width: int = CELL) -> torch.Tensor:
    """A mask (1, 1, 56, 56) of one rectangle."""
    mask = torch.zeros(1, 1, SIDE * CELL, SIDE * CELL)
    mask[..., top : top + height, left : left + width] = 1.0
    return mask


def test_a_sketch_tells_the_root_of_what_is_covered() -> None:
    told = sketch(torch.cat([block(CELL, 2 * CELL), block(0, 0, CELL // 2, CELL // 2), block(0, 0, 0, 0)]))
    assert told.shape == (3, SIDE * SIDE)
    assert told[0].nonzero().flatten().tolist() == [SIDE + 2] and float(told[0].max()) == 1.0
    assert float(told[1, 0]) == pytest.approx(0.5), "a quarter of the cell"
    assert float(told[2].sum()) == 0.0


def test_a_rough_sketch_is_of_the_moved_mask() -> None:
    masks = torch.cat([block(2 * CELL, 2 * CELL)] * 3)
    moved = np.array([[0, 0], [CELL, 0], [0, -CELL // 2]])
    told = rough_sketches(masks, moved, np.zeros(3, bool))
    assert torch.equal(told[0], sketch(masks[:1])[0])
    assert told[1].nonzero().flatten().tolist() == [3 * SIDE + 2], "a cell further down"
    assert told[2].nonzero().flatten().tolist() == [2 * SIDE + 1, 2 * SIDE + 2], "half of it is a cell to the left"
    blurred = rough_sketches(masks[:1], moved[:1], np.ones(1, bool))
    assert len(blurred.nonzero()) == 9 and float(blurred.max()) == pytest.approx(1 / 3)
    assert float(rough_sketches(block(0, 0), np.array([[-CELL, 0]]), np.zeros(1, bool)).sum()) == 0.0, "it is outside"


def test_a_batch_has_every_mask_of_its_pictures_and_shares_add_up(pool: Pool, scenes: list[Scene]) -> None:
    from crab_core.train.batches import drawing_batches

    make = drawing_batches(pool, scenes, 1, MEAN, STD)
    items = list(range(6))
    (whole,) = make(items, [items])
    count = len(whole["shot"])
    assert whole["shots"].shape == (6, 3, 112, 112) and whole["rough"].shape == (count, SIDE * SIDE)
    assert set(whole["shot"].tolist()) == set(range(6)) and count > 6
    away = (whole["rough"] - sketch(whole["truth"])).abs().amax(1)
    assert 0 < float((away == 0).float().mean()) < 1, "some sketches are exact and some are not"
    left, right = make(items, [[0, 2, 4], [1, 3, 5]])
    for part, own in ((left, [0, 2, 4]), (right, [1, 3, 5])):
        taken = torch.isin(whole["shot"], torch.tensor(own))
        assert torch.equal(part["truth"], whole["truth"][taken]) and torch.equal(part["rough"], whole["rough"][taken])
        assert torch.equal(part["shots"], whole["shots"][own])
    (again,) = make(items, [items])
    assert torch.equal(again["rough"], whole["rough"])


def iou_of(stage: MaskStage, batch: Batch, rough: torch.Tensor) -> float:
    with torch.no_grad():
        return float(stage.eval()(**{**batch, "rough": rough}, totals=stage.counts(batch))["mask_iou"])


def test_a_decoder_learns_to_draw_what_the_sketch_points_at(model: CrabModel) -> None:
    from crab_core.train.network import only_train

    torch.manual_seed(0)
    wider = replace(model.config.mask.decoder, width=32, queries=6, ffn=16)
    model.capabilities["avs"].mask_decoder = MaskDecoder(wider)
    stage = MaskStage(model).train()
    frozen = {name: one.clone() for name, one in model.state_dict().items() if ".mask_decoder." not in name}
    only_train(model, ("masks",))
    truth = torch.cat([block(8, 8, 16, 16), block(32, 32, 16, 16)])
    batch: dict[str, Any] = {"shots": torch.randn(1, 3, 112, 112), "shot": torch.tensor([0, 0]), "truth": truth}
    optimizer = torch.optim.AdamW([one for one in stage.parameters() if one.requires_grad], 3e-3)
    for _ in range(170):
        told = stage(**batch, rough=sketch(truth), totals=stage.counts(batch))
        optimizer.zero_grad()
        told["loss"].backward()
        optimizer.step()
    assert iou_of(stage, batch, sketch(truth)) > 0.8
    assert iou_of(stage, batch, sketch(truth.flip(0))) < 0.2, "the other sketch draws the other mask"
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in frozen.items())


def test_states_learn_to_tell_sketches_and_only_those_of_mask_tokens() -> None:
    torch.manual_seed(0)
    reader = SketchReader(32)
    hidden = torch.randn(2, 5, 32, requires_grad=True)
    masks = {"at": torch.tensor([[1, 2], [8, 9]]), "truth": torch.cat([block(0, 0, 16, 16), block(32, 40, 16, 16)])}
    optimizer = torch.optim.AdamW([hidden, *reader.parameters()], 3e-2)
    first = float(reader(hidden, masks, 2.0)["sketch_loss"].detach())
    for _ in range(60):
        told = reader(hidden, masks, 2.0)
        optimizer.zero_grad()
        told["sketch_loss"].backward()
        optimizer.step()
    told = reader(hidden, masks, 2.0)
    (touched,) = torch.autograd.grad(told["sketch_loss"], hidden, retain_graph=True)
    assert float(told["sketch_loss"].detach()) < first / 5 and float(told["sketch_iou"]) == 1.0
    half = reader(hidden, {"at": masks["at"][:1], "truth": masks["truth"][:1]}, 2.0)
    assert float(half["sketch_iou"]) == 0.5, "a part of the mean over the whole step"
    assert touched.flatten(0, 1).abs().sum(1).nonzero().flatten().tolist() == [1, 2, 8, 9]
    assert float(reader(hidden, {}, 2.0)["sketch_loss"]) == 0.0


def test_a_decoder_draws_from_states_what_it_drew_from_their_sketches(model: CrabModel) -> None:
    torch.manual_seed(0)
    decoder = model.capabilities["avs"].mask_decoder
    reader = SketchReader(model.config.vl.out_width)
    states, features = torch.randn(3, 6, reader.head.in_features), torch.randn(3, 196, decoder.config.feature_width)
    with torch.no_grad():
        from_sketches = decoder(reader.head(states) @ directions(reader.head.in_features), [features, features])
        reader.hand_over(decoder)
        from_states = decoder(states, [features, features])
    assert from_states.std() > 1e-4 and torch.allclose(from_states, from_sketches, atol=1e-5)


def test_a_decoder_reads_a_picture_once_for_all_its_masks(model: CrabModel) -> None:
    torch.manual_seed(0)
    width = model.config.vl.out_width
    states = torch.randn(4, 6, width)
    layers = [torch.randn(2, 196, model.config.mask.decoder.feature_width) for _ in range(2)]
    shot = torch.tensor([1, 0, 1, 1])
    draw = model.capabilities["avs"].draw
    assert torch.allclose(draw(states, layers, shot), draw(states, [one[shot] for one in layers]), atol=1e-5)


def test_a_run_teaches_the_decoder_and_the_states_and_brings_them_together(tiny_config: Path, tmp_path: Path) -> None:
    import yaml
    from safetensors.torch import load_file

    from crab_core.train.loop import run
    from crab_core.weights.folder import read_header

    settings = yaml.safe_load(tiny_config.read_text())
    drawing = {"name": "drawing", "kind": "masks", "steps": 4, "batch": 3, "warmup": 1, "train": ["masks"]}
    tasks = {"s4": 1.0, "ref-avs": 2.0}
    told = {"kind": "language", "steps": 3, "batch": 1, "stills": 2, "samples": 3, "warmup": 1, "sketch_weight": 1.0}
    pointing = {**told, "name": "pointing", "train": ["llm"], "tasks": {"avqa": 1.0, **tasks}}
    joint = {**pointing, "name": "joint", "train": ["llm", "masks"]}
    settings["stages"] = [drawing, pointing, joint]
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings))
    run(path, out=tmp_path / "out")
    curves = {
        name: read_header(tmp_path / "out" / name).training["curve"][-1] for name in ("drawing", "pointing", "model")
    }
    assert {"loss", "mask_iou"} <= set(curves["drawing"])
    assert curves["pointing"]["sketch_loss"] > 0 and "mask_loss" not in curves["pointing"]
    assert {"sketch_loss", "sketch_iou", "mask_loss"} <= set(curves["model"])
    before, after = (load_file(tmp_path / "out" / name / "model.safetensors") for name in ("drawing", "pointing"))
    of_decoder = [name for name in before if ".mask_decoder." in name]
    changed = {name.partition(".mask_decoder.")[2] for name in of_decoder if not torch.equal(before[name], after[name])}
    assert changed == {"embed.0.weight", "embed.0.bias"}, "the decoder now reads states, and is otherwise as it was"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "visual", "train": ("vl_projector",), "sketch_weight": 1.0}, "sketch_weight: is for language stages"),
        ({"kind": "audio", "train": ("al_projector",), "lookup_weight": 1.0}, "lookup_weight: is for language stages"),
        ({"kind": "language", "train": ("llm",), "change_weight": 1.0}, "change_weight: holds what lookups teach"),
        ({"kind": "language", "train": ("llm",), "recall_weight": 1.0}, "recall_weight: recalls what lookups teach"),
        ({"kind": "language", "train": ("llm",), "sketch_weight": 1.0}, "sketch_weight: none of the tasks has masks"),
        ({"kind": "masks", "train": ("masks", "llm")}, "only 'masks' learns, got masks, llm"),
        ({"kind": "language", "train": ("llm", "masks"), "sketch_weight": -1.0}, "sketch_weight: must be 0 or more"),
    ],
)
def test_weights_that_would_be_ignored_are_mistakes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        Stage("x", steps=1, **values)


@pytest.fixture
def network(tiny_config: Path) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(tiny_config.read_text())["network"]
    return found


DRAWING = Stage("drawing", "masks", 1, train=("masks",))
POINTING = Stage("pointing", "language", 1, train=("llm",), tasks={"s4": 1.0}, sketch_weight=1.0)
JOINT = Stage("joint", "language", 1, train=("llm", "masks"), tasks={"s4": 1.0})


@pytest.mark.parametrize("stage", [DRAWING, POINTING, JOINT])
def test_masks_learn_only_in_a_network_with_a_decoder(network: dict[str, Any], stage: Stage) -> None:
    from crab_core.train.settings import TrainSettings

    del network["mask"]
    with pytest.raises(ValueError, match=f"'{stage.name}'.* need a network with 'mask'"):
        TrainSettings("x", (stage,), network)


@pytest.mark.parametrize("others", [(), (DRAWING, JOINT), (DRAWING, replace(POINTING, name="before"))])
def test_sketches_are_handed_over_to_a_decoder_that_knows_them(
    network: dict[str, Any], others: tuple[Stage, ...]
) -> None:
    from crab_core.train.settings import TrainSettings

    with pytest.raises(ValueError, match="put a stage of kind masks before it"):
        TrainSettings("x", (*others, POINTING), network)
    words = Stage("words", "language", 1, train=("llm",))
    assert TrainSettings("x", (DRAWING, words, POINTING, JOINT), network).stages
    assert TrainSettings("x", (replace(JOINT, sketch_weight=1.0),), network).stages, "here the decoder learns itself"
