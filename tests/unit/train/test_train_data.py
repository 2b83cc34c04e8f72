"""What stages learn from: rendered pools, dense targets, batches as functions of their numbers, rows of texts."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from crab_core.errors import UsageError
from crab_core.train.batches import LanguageBatches, audio_batches, visual_batches
from crab_core.train.features import Features
from crab_core.train.masks import mask_batch
from crab_core.train.packing import AUDIO, VIDEO, Row, Text, mask_positions
from crab_core.train.pool import Pool, PoolPlan, open_pool
from crab_core.train.processes import Group
from crab_core.train.settings import Stage
from crab_core.train.shares import Batch, MakeBatches, SharedPieces
from crab_core.train.targets import THINGS, DenseTargets, box_targets, cell_of, dense_targets, patch_targets
from crab_core.world.classes import SOUNDING
from crab_core.world.labels import label
from crab_core.world.spec import Scene

if TYPE_CHECKING:
    from crab_core.train.texts import RowMaker

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


@pytest.fixture(scope="module")
def plan() -> PoolPlan:
    return PoolPlan("train", 6, 0, 0.4)


@pytest.fixture(scope="module")
def scenes(plan: PoolPlan) -> list[Scene]:
    return [plan.scene(index) for index in range(plan.clips)]


@pytest.fixture(scope="module")
def pool(plan: PoolPlan, tmp_path_factory: pytest.TempPathFactory) -> Pool:
    return open_pool(plan, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def targets(pool: Pool, scenes: list[Scene]) -> DenseTargets:
    return dense_targets(pool, scenes)


def test_a_pool_holds_each_clip_and_nothing_behind_its_end(pool: Pool, scenes: list[Scene]) -> None:
    assert {scene.seconds for scene in scenes} != {10}, "the plan has short clips"
    for number, scene in enumerate(scenes):
        assert pool.frames[number, : scene.seconds].any(axis=(1, 2, 3)).all()
        assert not pool.frames[number, scene.seconds :].any()
        assert not pool.banks[number, scene.seconds :].any()


def test_a_pool_is_opened_again_without_rendering(plan: PoolPlan, tmp_path: Path) -> None:
    told: list[object] = []
    open_pool(plan, tmp_path, on_progress=told.append)
    assert told
    told.clear()
    open_pool(plan, tmp_path, on_progress=told.append)
    assert told == []


def test_cells_say_what_stands_where_and_when(targets: DenseTargets, scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes):
        for actor in scene.actors:
            for figure in actor.figures:
                assert actor.seen is not None
                column = targets.cells[number, :, cell_of(figure)]
                assert set(column[actor.seen.start_s : actor.seen.end_s]) == {THINGS.index(actor.name) + 1}
        counted = int((targets.cells[number] > 0).sum())
        assert counted == sum(actor.seen.seconds * len(actor.figures) for actor in scene.actors if actor.seen)


def test_heard_agrees_with_the_labels(targets: DenseTargets, scenes: list[Scene]) -> None:
    for number, scene in enumerate(scenes):
        assert (label(scene).audible == targets.heard[number, : scene.seconds].T).all()
        assert not targets.heard[number, scene.seconds :].any()


def test_a_patch_shows_the_class_that_covers_most_of_it() -> None:
    maps = np.zeros((1, 56, 56), np.uint8)
    maps[0, :8, :6] = 1  # 48 of the 64 points of the first patch
    maps[0, :8, 6:8] = 2  # 16 of them
    maps[0, 0, 8:15] = 2  # seven points of the second patch: too few
    found = patch_targets(maps, np.array([[0, 7, 9]], np.uint8))
    assert found[0, 0] == 7
    assert found[0, 1:].max() == 0


def whole(make: MakeBatches, items: list[int]) -> Batch:
    """The batch of all items of a step."""
    return make(items, [range(len(items))])[0]


@pytest.mark.parametrize("kind", ["visual", "audio"])
def test_shares_hold_the_rows_of_the_whole_batch(kind: str, pool: Pool, targets: DenseTargets) -> None:
    make = visual_batches(pool, targets, 3, MEAN, STD) if kind == "visual" else audio_batches(pool, targets, 3)
    batch, (odd, even) = whole(make, [0, 1, 2, 3]), make([0, 1, 2, 3], [[1, 3], [0, 2]])
    for name, tensor in batch.items():
        torch.testing.assert_close(tensor[[1, 3, 0, 2]], torch.cat([odd[name], even[name]]), equal_nan=True)


@pytest.mark.parametrize("kind", ["visual", "audio"])
def test_a_batch_is_a_function_of_its_numbers(kind: str, pool: Pool, targets: DenseTargets) -> None:
    make = visual_batches(pool, targets, 3, MEAN, STD) if kind == "visual" else audio_batches(pool, targets, 3)
    first, other, again = (whole(make, items) for items in ([0, 1, 2, 3], [4, 5, 6, 7], [0, 1, 2, 3]))
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, again[name], atol=0, rtol=0, equal_nan=True)
    assert any(not torch.equal(tensor, other[name]) for name, tensor in first.items())


def test_a_box_holds_what_is_visible_of_a_drawing() -> None:
    maps = np.zeros((1, 56, 56), np.uint8)
    maps[0, 10:20, 30:50] = 3
    maps[0, 15:56, 40:50] = 1  # stands before it
    found = box_targets(maps, np.array([[3, 0, 1, 2]], np.uint8))
    assert np.allclose(found[0, 0] * 56, [30, 10, 50, 20])
    assert np.allclose(found[0, 2] * 56, [40, 15, 50, 56])
    assert np.isnan(found[0, [1, 3]]).all(), "no box where none is wanted, nor where nothing is visible"


def test_boxes_lie_where_their_cells_are(pool: Pool, targets: DenseTargets) -> None:
    make = visual_batches(pool, targets, 3, MEAN, STD)  # half of the batches are mirrored
    for start in range(0, 40, 4):
        boxes = whole(make, list(range(start, start + 4)))["boxes"].view(4, 2, 3, 4)
        middles = (boxes[..., 0] + boxes[..., 2]) / 2
        left, right = middles[:, :, 0], middles[:, :, 2]
        assert (left[~left.isnan()] < 0.5).all() and (right[~right.isnan()] > 0.5).all()


def test_a_mirrored_frame_has_mirrored_labels(pool: Pool, targets: DenseTargets) -> None:
    make = visual_batches(pool, targets, 3, MEAN, STD)
    for start in range(0, 40, 4):
        batch = whole(make, list(range(start, start + 4)))
        for cells, patches in zip(batch["cells"], batch["patches"].view(-1, 7, 7), strict=True):
            left, right = cells.view(2, 3)[:, 0], cells.view(2, 3)[:, 2]
            if left.any() and not right.any() and not cells.view(2, 3)[:, 1].any():
                assert patches[:, :3].sum() > patches[:, 4:].sum()


def test_levels_follow_the_gain(pool: Pool, targets: DenseTargets) -> None:
    batch = whole(audio_batches(pool, targets, 1), [0, 1, 2, 3])
    assert batch["levels"].shape == (4, len(SOUNDING))
    assert batch["banks"].shape == (4, 98, 128)


def test_withheld_media_have_no_seconds_in_the_batch() -> None:
    features = Features(torch.zeros(3, 10, 4, 5), torch.zeros(3, 10, 2, 5))

    def row(clip: int, still: bool | None, rng: np.random.Generator) -> Row:
        places = (VIDEO,) if clip else (AUDIO,)
        return Row((1, *places), (Text((3,), (2,)),), sees=clip > 0, hears=clip == 0)

    batch = whole(LanguageBatches(features, np.array([4, 5, 6]), row, 0).pieces, [0, 1, 2, 3, 4, 5])
    assert not (batch["in_sight"].any(1) & batch["in_earshot"].any(1)).any()
    assert set((batch["in_sight"].sum(1) + batch["in_earshot"].sum(1)).tolist()) <= {4, 5, 6}


@pytest.fixture
def row_maker(tiny_run: Path, scenes: list[Scene], pool: Pool) -> Callable[..., RowMaker]:
    """Makes the maker of a stage with such settings."""
    from transformers import PreTrainedTokenizerFast

    from crab_core.train.network import read_model
    from crab_core.train.texts import RowMaker

    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny_run / "model")
    model = read_model(tiny_run / "model")
    return lambda **settings: RowMaker(
        tokenizer, model, scenes, pool.maps, Stage("x", "language", 1, train=("llm",), **settings)
    )


def test_rows_of_stills_show_one_second_and_tell_its_masks(
    row_maker: Callable[..., RowMaker], scenes: list[Scene], pool: Pool
) -> None:
    make = row_maker(samples=4, tasks={"s4": 1.0, "ref-avs": 3.0, "arig": 1.0})
    told = 0
    for number in range(60):
        clip = number % len(scenes)
        row = make(clip, None, np.random.default_rng([number, 5]))
        assert row.second is not None and row.second < scenes[clip].seconds
        assert sum(token == VIDEO for token in row.prefix) == 6 and sum(token == AUDIO for token in row.prefix) == 2
        for text, positions in mask_positions(row):
            told += 1
            whole = [*row.prefix, *(token for one in row.texts for token in (*one.prompt, *one.target))]
            written = make.tokenizer.convert_ids_to_tokens([whole[at + 1] for at in positions])
            assert written == [f"<mask_{index}>" for index in range(6)]
            assert text.figures and np.isin(pool.maps[clip, row.second], text.figures).any()
    assert told > 20


def test_a_batch_with_masks_holds_the_pixels_that_the_texts_mean(
    row_maker: Callable[..., RowMaker], scenes: list[Scene], pool: Pool
) -> None:
    make = row_maker(samples=4, tasks={"ref-avs": 1.0})
    rows = [make(clip, None, np.random.default_rng([clip, 7])) for clip in range(len(scenes))]
    batch = mask_batch(rows, np.arange(len(scenes)), 500, pool, MEAN, STD)
    texts = [text for row in rows for text, _ in mask_positions(row)]
    assert batch["shots"].shape[1:] == (3, 112, 112)
    assert batch["truth"].shape == (len(texts), 1, 56, 56) and batch["at"].shape == (len(texts), 6)
    assert (batch["truth"].flatten(1).sum(1) > 0).all()
    assert (
        batch["at"] // 500 == torch.tensor([at for at, row in enumerate(rows) for _ in mask_positions(row)])[:, None]
    ).all()
    assert mask_batch([Row((1,), (Text((3,), (2,)),))], np.array([0]), 5, pool, MEAN, STD) == {}


def test_reading_has_facts_in_place_of_media(row_maker: Callable[..., RowMaker]) -> None:
    row = (make := row_maker(samples=2, tasks={"avqa": 1.0}, reading=1.0))(1, None, np.random.default_rng(3))
    assert not row.sees and not row.hears and not {VIDEO, AUDIO} & set(row.prefix)
    said = make.tokenizer.decode(row.prefix)
    assert "I see" in said and "I hear" in said and "seconds" in said
    assert len(row.texts) > 2 and all(text.answer[0] < text.answer[1] for text in row.texts)


def test_what_counts_as_the_answer_begins_with_the_sentence_that_decides(row_maker: Callable[..., RowMaker]) -> None:
    make = row_maker(samples=40, tasks={"avqa": 1.0}, reasoning=1.0)
    texts = [text for number in range(4) for text in make(number, None, np.random.default_rng(number)).texts]
    counted = {
        make.tokenizer.decode(one.target): make.tokenizer.decode(one.target[slice(*one.answer)]) for one in texts
    }
    decided = {said: part for said, part in counted.items() if "What I " in said}
    assert decided and len(decided) < len(counted)
    for said, part in decided.items():
        assert part == said[said.index(" What I") : said.rindex(" </answer>")]
    plain = [part for said, part in counted.items() if said.count(".") < 3]
    assert plain and all("." not in part for part in plain)


def test_rows_hold_texts_of_the_tasks_of_the_stage(row_maker: Callable[..., RowMaker], scenes: list[Scene]) -> None:
    make = row_maker(samples=3, tasks={"ave": 1.0, "avqa": 3.0}, reasoning=1.0)
    tokenizer = make.tokenizer
    for number, scene in enumerate(scenes):
        row = make(number, None, np.random.default_rng([number, 5]))
        assert 1 <= len(row.texts) <= 3
        looks = scene.seconds if row.sees else 0
        assert sum(token == VIDEO for token in row.prefix) == looks * 6
        for text in row.texts:
            assert text.target[-1] == tokenizer.eos_token_id
            said = tokenizer.decode(text.target)
            assert "<answer>" in said or "<event>" in said


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"steps": 0}, "steps: must be at least 1", id="no-steps"),
        pytest.param({"rate": 0.0}, "rate: must be above 0", id="no-rate"),
        pytest.param({"reasoning": 2.0}, "between 0 and 1", id="too-much-reasoning"),
        pytest.param({"tasks": {"sed": 1.0}}, "no task is called 'sed'", id="unknown-task"),
        pytest.param({"templates": {"loudst": 1.0}}, "no question is called 'loudst'", id="unknown-question"),
        pytest.param({"templates": {"loudest": -1.0}}, "templates: weights must be 0 or more", id="weight-below-0"),
    ],
)
def test_a_stage_checks_its_values(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Stage("x", "language", **{"steps": 1, "train": ("llm",), **values})  # type: ignore[arg-type]


def test_pictures_beside_clips_are_a_piece_of_their_own(
    row_maker: Callable[..., RowMaker], scenes: list[Scene]
) -> None:
    make = row_maker(samples=3, tasks={"avqa": 1.0, "ssl": 1.0, "arig": 1.0})
    features = Features(torch.zeros(len(scenes), 10, 6, 192), torch.zeros(len(scenes), 10, 2, 192))
    batches = LanguageBatches(features, np.array([scene.seconds for scene in scenes]), make, 0)
    clips, pictures = batches.pieces([0, 1, 2], [range(8)], stills=5)
    assert len(clips["ids"]) == 3 and len(pictures["ids"]) == 5
    assert (pictures["in_sight"].sum(1) == 1).all() and (clips["in_sight"].sum(1) != 1).all()
    assert pictures["ids"].shape[1] < clips["ids"].shape[1]
    assert len(whole(batches.pieces, [0, 1, 2])["ids"]) == 3
    shared = batches.pieces([0, 1, 2], [[0, 2, 4, 6], [1, 3, 5, 7]], stills=5)
    assert [len(one["ids"]) for one in shared] == [2, 2, 1, 3], "clips and pictures of one share, then of the other"


def test_pieces_of_a_step_add_up_to_one_batch(
    tiny_run: Path, row_maker: Callable[..., RowMaker], scenes: list[Scene]
) -> None:
    from crab_core.train.language import LanguageStage
    from crab_core.train.network import read_model

    stage = LanguageStage(read_model(tiny_run / "model"), answer_weight=3.0, projected=True).eval()
    width = stage.model.config.vl.out_width
    features = Features(torch.randn(len(scenes), 10, 6, width), torch.randn(len(scenes), 10, 2, width))
    make = row_maker(samples=3, tasks={"avqa": 1.0, "ssl": 1.0})
    batches = LanguageBatches(features, np.array([scene.seconds for scene in scenes]), make, 0)
    pieces = SharedPieces(
        stage,
        lambda items, shares: batches.pieces([0, 1], shares, stills=3),
        Stage("x", "language", steps=1, batch=2, stills=3, train=("llm",)),
        Group(),
    )(0)
    together = sum(float(stage(**piece)["loss"]) for piece in pieces)
    alone = []
    for piece in pieces:
        own = stage.counts(piece)
        assert sum(stage.counts(one)["tokens"] for one in pieces) == piece["totals"]["tokens"]
        alone.append((float(stage(**{**piece, "totals": own})["loss"]), own["tokens"] + 2.0 * own["answers"]))
    mean = sum(loss * weight for loss, weight in alone) / sum(weight for _, weight in alone)
    assert together == pytest.approx(mean, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        pytest.param("ave", r"\d+,\d+", id="times"),
        pytest.param("arig", r"\d+,\d+\)\(\d+,\d+", id="corners"),
    ],
)
def test_numbers_that_are_an_answer_count_as_one(
    row_maker: Callable[..., RowMaker], scenes: list[Scene], task: str, told: str
) -> None:
    make = row_maker(samples=1, tasks={task: 1.0})
    found = 0
    for number in range(40):
        for text in make(number % len(scenes), task == "arig", np.random.default_rng([number, 1])).texts:
            said = make.tokenizer.decode(text.target[slice(*text.answer)])
            found += bool(said)
            assert not said or re.search(told, said.replace(" ", "")), said
            assert (
                said or "none" in make.tokenizer.decode(text.target) or "nothing" in make.tokenizer.decode(text.target)
            )
    assert found > 5


def test_numbers_places_and_levels_of_a_list_count_as_an_answer(
    row_maker: Callable[..., RowMaker], scenes: list[Scene]
) -> None:
    from crab_core.train.texts import VALUES

    told = set()
    for task in ("avvp", "avqa"):
        make = row_maker(samples=8, tasks={task: 1.0}, reasoning=1.0)
        for number in range(20):
            for text in make(number % len(scenes), False, np.random.default_rng([number, 2])).texts:
                words = [make.tokenizer.decode([text.target[at]]).strip() for at in text.values]
                told.update(words)
                if task == "avvp":
                    assert words == re.findall(r"\d+", make.tokenizer.decode(text.target))
    assert {"0", "10"} <= told
    assert all(word.isdigit() or any(value.startswith(word) for value in VALUES) for word in told), told
    assert any(word.isalpha() for word in told)


def test_clips_of_which_nothing_is_asked_are_passed_over(
    row_maker: Callable[..., RowMaker], scenes: list[Scene]
) -> None:
    make = row_maker(samples=1, tasks={"s4": 1.0})  # only of seconds in which one class sounds
    features = Features(torch.zeros(len(scenes), 10, 6, 4), torch.zeros(len(scenes), 10, 2, 4))
    batches = LanguageBatches(features, np.array([scene.seconds for scene in scenes]), make, 0)
    for start in range(0, 40, 4):
        piece = whole(batches.pieces, [*range(start, start + 4)])
        assert len(piece["ids"]) == 4 and (piece["labels"] != -100).any(1).all()
    nothing = LanguageBatches(features, batches.seconds, lambda *_: Row((), ()), 0)
    with pytest.raises(UsageError, match="ask nothing"):
        nothing.pieces([0], [[0]])


def test_weights_of_questions_decide_which_are_drawn(row_maker: Callable[..., RowMaker], scenes: list[Scene]) -> None:
    def asked(**weights: float) -> int:
        make = row_maker(samples=2, tasks={"avqa": 1.0}, templates=weights, reasoning=0.0)
        rows = [
            make(clip, False, np.random.default_rng([clip, seed])) for clip in range(len(scenes)) for seed in range(9)
        ]
        return sum("how many" in make.tokenizer.decode(text.prompt).lower() for row in rows for text in row.texts)

    counts = {"kinds_count": 30.0, "things_count": 30.0, "sounds_count": 30.0}
    assert asked(**dict.fromkeys(counts, 0.0)) < asked() < asked(**counts)


def test_weights_of_expressions_decide_which_are_drawn(row_maker: Callable[..., RowMaker], scenes: list[Scene]) -> None:
    def drawn(**weights: float) -> list[str]:
        make = row_maker(samples=2, tasks={"ref-avs": 1.0}, templates=weights)
        rows = [make(at, True, np.random.default_rng([at, seed])) for at in range(len(scenes)) for seed in range(9)]
        return [make.tokenizer.decode(text.prompt) for row in rows for text in row.texts]

    def silent(**weights: float) -> float:
        texts = drawn(**weights)
        return sum("silent" in text for text in texts) / len(texts)

    assert silent(ref_silent=0.0) == 0.0
    assert 0.0 < silent() < 0.4
    assert silent(ref_silent=50.0) > 0.45, "in each picture one of two texts"


def test_a_row_about_a_picture_can_hold_every_expression_of_it(row_maker: Callable[..., RowMaker]) -> None:
    make = row_maker(samples=30, tasks={"ref-avs": 1.0})
    rows = [make(at, True, np.random.default_rng([at, 1])) for at in range(6)]
    assert all(len({text.prompt for text in row.texts}) == len(row.texts) for row in rows)
    assert max(len(row.texts) for row in rows) > 4, "more than are asked in a test"
