"""Scenes are a pure function of (split, seed, index) and keep the promises that the labels rely on."""

from __future__ import annotations

import hashlib
import json

import pytest

from crab_core.errors import UsageError
from crab_core.world.labels import label
from crab_core.world.scene import BACKDROPS, LEVEL_JITTER_DB, SPLITS, Scene, Span, fingerprint, sample_scene

PINNED = "dd09d5ccbe373be8"  # of the code of this version; a change of it needs a higher VERSION


def digest(scenes) -> str:
    documents = [[scene.to_dict(), label(scene).to_dict()] for scene in scenes]
    return hashlib.sha256(json.dumps(documents).encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def scenes(fake_bank) -> list[Scene]:
    return [sample_scene("train", index, bank=fake_bank) for index in range(600)]


def test_the_first_scenes_and_labels_never_change(fake_bank):
    assert digest(sample_scene("val", index, bank=fake_bank) for index in range(20)) == PINNED


def test_a_scene_does_not_depend_on_those_before_it(fake_bank, scenes):
    assert [sample_scene("train", index, bank=fake_bank) for index in (599, 3, 250)] == [
        scenes[index] for index in (599, 3, 250)
    ]


@pytest.mark.parametrize("split", [split for split in SPLITS if split != "train"])
def test_splits_have_their_own_scenes(fake_bank, scenes, split):
    others = [sample_scene(split, index, bank=fake_bank) for index in range(30)]
    assert {one.acoustics.seed for one in others}.isdisjoint(one.acoustics.seed for one in scenes)


def test_seeds_have_their_own_scenes(fake_bank, scenes):
    assert sample_scene("train", 0, seed=1, bank=fake_bank).acoustics != scenes[0].acoustics


def test_json_gives_the_same_scene_back(scenes):
    for scene in scenes[:50]:
        assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_shares_are_as_designed(scenes):
    spans = [actor.seen for scene in scenes for actor in scene.actors if actor.seen]
    doubled = [len(actor.figures) == 2 for scene in scenes for actor in scene.actors if actor.seen]
    assert sum(scene.kind == "ave" for scene in scenes) / len(scenes) == pytest.approx(0.35, abs=0.06)
    assert sum(span.seconds == 10 for span in spans) / len(spans) == pytest.approx(0.5, abs=0.06)
    assert sum(doubled) / len(doubled) == pytest.approx(0.12, abs=0.04)
    assert min(span.seconds for span in spans) == 2


def test_every_name_comes_once_and_every_figure_has_its_own_cell(scenes):
    for scene in scenes:
        names = [actor.name for actor in scene.actors]
        cells = [(figure.column, figure.y > 0.5) for _, figure in scene.figures]
        assert len(set(names)) == len(names)
        assert len(set(cells)) == len(cells) <= 5
        assert all(len(actor.figures) >= 1 if actor.seen else not actor.figures for actor in scene.actors)


def test_a_column_is_never_in_doubt(scenes):
    for scene in scenes:
        for _, figure in scene.figures:
            middle = {"left": 1 / 6, "middle": 3 / 6, "right": 5 / 6}[figure.column]
            assert abs(figure.x - middle) + figure.sway_x < 0.06


def test_sounding_things_are_at_least_4_db_apart(scenes):
    for scene in scenes:
        levels = sorted(actor.level_db for actor in scene.actors if actor.can_sound)
        assert all(high - low >= 6 - 2 * LEVEL_JITTER_DB for low, high in zip(levels, levels[1:], strict=False))


def test_a_single_event_scene_has_one_class_seen_and_heard_together(fake_bank):
    for index in range(100):
        scene = sample_scene("test", index, bank=fake_bank, kind="ave")
        (event,) = label(scene).both
        assert sum(actor.can_sound for actor in scene.actors) == 1
        assert event.end_s - event.start_s >= 2


def test_geometry_has_other_backdrops_and_turns(fake_bank, scenes):
    odd = [sample_scene("geometry", index, bank=fake_bank) for index in range(40)]
    assert {scene.backdrop.kind for scene in odd} == set(BACKDROPS["geometry"])
    assert {scene.backdrop.kind for scene in scenes} == set(BACKDROPS["usual"])
    assert min(abs(figure.angle_deg) for scene in odd for _, figure in scene.figures) >= 32
    assert max(abs(figure.angle_deg) for scene in scenes for _, figure in scene.figures) <= 25


def test_shorter_clips_end_in_time(fake_bank):
    for index in range(50):
        scene = sample_scene("train", index, bank=fake_bank, seconds=5)
        assert all(span.end_s <= 5 for actor in scene.actors for span in (actor.seen, actor.heard) if span)


def test_the_fingerprint_follows_the_bank(fake_bank):
    class Other(type(fake_bank)):
        fingerprint = "fake-2"

    assert fingerprint(fake_bank) != fingerprint(Other())
    assert len(fingerprint(fake_bank)) == 16


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"split": "tset"}, "'tset'"), ({"index": -1}, "'-1'"), ({"seed": -2}, "'-2'"), ({"seconds": 3}, "'3'")],
    ids=["unknown split", "negative index", "negative seed", "too short"],
)
def test_mistakes_are_named(fake_bank, changes, named):
    values = {"split": "train", "index": 0, **changes}
    with pytest.raises(UsageError, match=named):
        sample_scene(values.pop("split"), values.pop("index"), bank=fake_bank, **values)


def test_a_span_needs_an_end_after_its_start():
    with pytest.raises(ValueError, match="3 to 3"):
        Span(3, 3)
