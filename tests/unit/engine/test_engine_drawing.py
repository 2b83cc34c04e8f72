"""Masks from told places: who is asked, what the masker is shown, what is tracked, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from fake_family import FakeFamily, write_model

from crab_core.engine.checks import check_able
from crab_core.engine.drawing import tracked_times
from crab_core.engine.masks import binary_mask
from crab_core.engine.scan import scan
from crab_core.engine.session import Model, Seen, load
from crab_core.errors import ModelError, UsageError
from crab_core.families._base import Place
from crab_core.registry import TASKS
from crab_core.types import Request

TASKS_KNOWN = ["avqa", "avcap", "ssl", "s4", "ms3", "ref-avs"]


@dataclass
class FakeMasker:
    """Draws each place as its box, and follows it where it was; remembers what it was shown."""

    name: str = "fake-sam"
    shown: list[tuple[str, tuple[int, ...], tuple[Place, ...]]] = field(default_factory=list)
    followed: tuple[Place, ...] = ()

    def draw(self, picture: np.ndarray, places: Sequence[Place]) -> list[np.ndarray]:
        self.shown.append(("draw", picture.shape, tuple(places)))
        return [drawn(picture, place) for place in places]

    def tracker(self) -> FakeMasker:
        return self

    def start(self, picture: np.ndarray, places: Sequence[Place]) -> list[np.ndarray]:
        self.shown.append(("start", picture.shape, tuple(places)))
        self.followed = tuple(places)
        return [drawn(picture, place) for place in places]

    def follow(self, picture: np.ndarray) -> list[np.ndarray]:
        self.shown.append(("follow", picture.shape, self.followed))
        return [drawn(picture, place) for place in self.followed]


def drawn(picture: np.ndarray, place: Place) -> np.ndarray:
    assert place.box is not None
    logits = np.full(picture.shape[:2], -5.0, np.float32)
    logits[round(place.box.y0) : round(place.box.y1), round(place.box.x0) : round(place.box.x1)] = 5.0
    return logits


@pytest.fixture
def masker() -> FakeMasker:
    return FakeMasker()


@pytest.fixture
def plus(family: FakeFamily, tmp_path: Path, masker: FakeMasker) -> Model:
    """A model that tells boxes and points like Crab+."""
    folder = write_model(tmp_path / "plus", tasks=TASKS_KNOWN, profile="plus")
    return replace(load(folder, device="cpu", masks="auto"), masker=masker)


@pytest.fixture
def plain(family: FakeFamily, tmp_path: Path, masker: FakeMasker) -> Model:
    """A model that tells boxes in a task of their own."""
    return replace(load(write_model(tmp_path / "plain", tasks=["avqa", "ssl"]), device="cpu"), masker=masker)


def test_a_box_and_points_become_a_mask_of_the_frames_size(plus: Model, masker: FakeMasker, clip: Path) -> None:
    result = plus.infer(Request(clip, "s4", at_s=(1.0,)))
    ((kind, shape, (place,)),) = masker.shown
    assert (kind, shape) == ("draw", (24, 32, 3)), "the picture at its own size, not at the network's"
    assert place.box is not None and (place.box.x0, place.box.y1) == (14 * 32 / 224, 196 * 24 / 224)
    assert [(point.x, point.y) for point in place.points][0] == pytest.approx((20 * 32 / 224, 40 * 24 / 224))
    (mask,) = result.masks
    assert mask.size == (32, 24) and mask.box == (2, 3, 20, 21) and mask.label == "dog" and mask.time_s == 1.0
    assert len(result.boxes) == 1 and len(result.points) == 3 and result.points[0].time_s == 1.0
    assert result.notes[0] == "masks are drawn by 'fake-sam' from the boxes"
    assert result.from_dict(result.to_dict()).points == result.points


def test_an_expression_is_drawn_and_asked_for(plus: Model, family: FakeFamily, clip: Path) -> None:
    result = plus.infer(Request(clip, "ref-avs", "the dog", at_s=(0.5,)))
    assert "<des>the dog</des>" in family.network.prompts[0].parts[-1].text
    assert [mask.label for mask in result.masks] == ["dog"] and result.question == "the dog"


def test_a_model_without_places_in_its_masks_is_asked_for_boxes(
    plain: Model, family: FakeFamily, masker: FakeMasker, clip: Path
) -> None:
    result = plain.infer(Request(clip, "ms3", at_s=(0.0, 2.0)))
    assert all("find every object" in prompt.parts[-1].text for prompt in family.network.prompts)
    assert result.task == "ms3" and [mask.time_s for mask in result.masks] == [0.0, 2.0]
    assert result.notes[0] == "masks are drawn by 'fake-sam' from the boxes of task 'ssl'"
    assert all(place.points == () for _, _, (place,) in masker.shown)


@pytest.mark.parametrize("said", ["I cannot tell.", "The object producing the sound is dog."])
def test_a_text_without_a_place_has_no_mask_and_says_so(plus: Model, family: FakeFamily, clip: Path, said: str) -> None:
    family.network.says["s4"] = said
    result = plus.infer(Request(clip, "s4", at_s=(1.0,)))
    assert result.masks[0].area_px == 0
    assert "the model told no place that a mask could be drawn of" in result.notes


def test_nothing_is_an_answer(plus: Model, family: FakeFamily, clip: Path) -> None:
    family.network.says["ref-avs"] = "<answer>false</answer>"
    result = plus.infer(Request(clip, "ref-avs", "the cow", at_s=(1.0,)))
    assert result.masks[0].area_px == 0 and not any("told no place" in note for note in result.notes)


def test_a_mask_is_tracked_to_the_next_time_and_to_the_end(plus: Model, masker: FakeMasker, clip: Path) -> None:
    result = plus.infer(Request(clip, "s4", at_s=(0.0, 2.0), track_s=0.5))
    assert [mask.time_s for mask in result.masks] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    assert [kind for kind, _, _ in masker.shown] == ["start", "follow", "follow", "follow", "start", "follow"]
    assert all(mask.label == "dog" and mask.area_px for mask in result.masks)


def test_tracking_bridges_a_text_that_cannot_be_read_and_ends_at_nothing(
    plus: Model, family: FakeFamily, masker: FakeMasker, clip: Path
) -> None:
    texts = iter(["dog [14,28,140,196] [20,40]", "hm", "<answer>false</answer>"])

    class Changing(dict):  # type: ignore[type-arg]
        def __getitem__(self, task: str) -> str:
            return next(texts)

    family.network.says = Changing()
    result = plus.infer(Request(clip, "ref-avs", "the dog", at_s=(0.0, 1.0, 2.0), track_s=0.5))
    assert [bool(mask.area_px) for mask in result.masks] == [True, True, True, True, False, False]
    assert any(note.startswith("at 1 s: the model told no place") for note in result.notes)


def test_scan_draws_with_a_masker(plain: Model, clip: Path) -> None:
    result = scan(Seen(plain, Request(clip, at_s=(1.0,))), Request(clip, at_s=(1.0,)))
    assert [mask.time_s for mask in result.masks] == [1.0]


def test_scan_leaves_masks_out_that_nobody_can_draw(plus: Model, clip: Path) -> None:
    result = scan(Seen(replace(plus, masker=None), Request(clip)), Request(clip))
    assert not result.masks
    assert any(note.startswith("no masks: model 'fake' tells boxes and points") for note in result.notes)


@pytest.mark.parametrize(
    ("profile", "task", "told"),
    [
        ("plus", "s4", "tells boxes and points and draws no masks of its own"),
        ("plus", "avss", "tells boxes and points"),
    ],
)
def test_a_model_that_only_tells_places_needs_a_masker(
    family: FakeFamily, tmp_path: Path, clip: Path, profile: str, task: str, told: str
) -> None:
    model = replace(load(write_model(tmp_path / "m", profile=profile), device="cpu"), masker=None)
    with pytest.raises(ModelError, match=told):
        model.infer(Request(clip, task))
    assert not family.network.clips


@pytest.mark.parametrize(("task", "question"), [("ref-avs", "the dog"), ("avss", None)])
def test_boxes_of_what_sounds_are_not_boxes_of_everything(
    plain: Model, clip: Path, task: str, question: str | None
) -> None:
    with pytest.raises(ModelError, match=f"tells no boxes for task '{task}'"):
        plain.infer(Request(clip, task, question))


def test_tracking_needs_a_masker(plain: Model, clip: Path) -> None:
    with pytest.raises(UsageError, match="tracked by SAM 2"):
        replace(plain, masker=None).infer(Request(clip, "s4", track_s=0.5))


def test_tracked_times_stay_before_the_next() -> None:
    assert tracked_times(0.0, 0.3, 0.1) == [0.0, 0.1, 0.2]
    assert tracked_times(1.0, 1.0, 0.1) == [1.0]


def test_what_a_model_knows_is_not_changed_by_a_masker(plain: Model) -> None:
    with pytest.raises(ModelError):
        check_able(plain.header, TASKS["emotion"].load())


def test_fine_logits_make_a_coarse_heat_map() -> None:
    fine = np.full((256, 256), -9.0, np.float32)
    fine[:, 128:] = 9.0
    mask = binary_mask(fine, "dog", 0.0, (32, 24))
    assert mask.likelihood is not None and mask.likelihood.shape == (64, 64)
    assert mask.likelihood[:, :30].max() == 0 and mask.likelihood[:, 34:].min() == 255
    assert mask.box == (16, 0, 32, 24)
