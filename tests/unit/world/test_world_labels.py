"""Labels say what the scene says: tables, facts, places, levels and boxes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from crab_core.world.labels import CLASS_INDEX, CLASS_NAMES, boxes, label, level_of
from crab_core.world.scene import sample_scene
from crab_core.world.spec import Span


@pytest.fixture(scope="module")
def scene(fake_bank):
    """A guitar seen 2-10 and heard 0-5, a drum only heard 3-4, a dog only seen, and an apple."""
    base = sample_scene("train", 0, bank=fake_bank)
    actor = next(actor for index in range(50) for actor in sample_scene("train", index, bank=fake_bank).actors)
    donor = next(
        actor
        for index in range(50)
        for actor in sample_scene("train", index, bank=fake_bank).actors
        if len(actor.figures) == 1
    )
    left = dataclasses.replace(donor.figures[0], column="left")
    right = dataclasses.replace(donor.figures[0], column="right")

    def play(name, seen, heard, level_db, figures):
        return dataclasses.replace(
            actor, name=name, can_sound=name != "apple", seen=seen, heard=heard, level_db=level_db, figures=figures
        )

    cast = (
        play("guitar", Span(2, 10), Span(0, 5), -6.5, (left, right)),
        play("drum", None, Span(3, 4), 0.4, ()),
        play("dog", Span(0, 10), None, 0.0, (right,)),
        play("apple", Span(0, 3), None, 0.0, (left,)),
    )
    return dataclasses.replace(base, seconds=10, actors=cast)


def test_tables_hold_the_seconds_of_sounding_classes(scene):
    truth = label(scene)
    assert truth.audible.shape == truth.visible.shape == (len(CLASS_NAMES), 10)
    assert np.flatnonzero(truth.audible[CLASS_INDEX["guitar"]]).tolist() == [0, 1, 2, 3, 4]
    assert np.flatnonzero(truth.visible[CLASS_INDEX["guitar"]]).tolist() == [2, 3, 4, 5, 6, 7, 8, 9]
    assert np.flatnonzero(truth.audible.any(axis=1)).tolist() == sorted(CLASS_INDEX[n] for n in ("guitar", "drum"))
    assert np.flatnonzero(truth.visible.any(axis=1)).tolist() == sorted(CLASS_INDEX[n] for n in ("guitar", "dog"))


def test_seen_facts_are_in_the_order_of_their_start(scene):
    facts = [(f.name, f.start_s, f.end_s, f.place, f.count, f.can_sound, f.sounding) for f in label(scene).seen]
    assert facts == [
        ("apple", 0, 3, "left", 1, False, False),
        ("dog", 0, 10, "right", 1, True, False),
        ("guitar", 2, 10, "several", 2, True, True),
    ]


def test_heard_facts_know_level_and_place(scene):
    facts = [(f.name, f.start_s, f.end_s, f.level, f.place, f.visible, f.count) for f in label(scene).heard]
    assert facts == [
        ("guitar", 0, 5, "medium", "several", True, 2),
        ("drum", 3, 4, "loud", "off screen", False, 0),
    ]


def test_what_is_seen_and_heard_at_once(scene):
    assert [dataclasses.astuple(fact) for fact in label(scene).both] == [("guitar", 2, 5)]


def test_spans_apart_are_no_event(scene):
    guitar = dataclasses.replace(scene.actors[0], seen=Span(6, 9))
    assert label(dataclasses.replace(scene, actors=(guitar,))).both == ()


def test_facts_are_plain_json(scene):
    document = label(scene).to_dict()
    assert set(document) == {"seen", "heard", "both"}
    assert document["both"] == [{"name": "guitar", "start_s": 2, "end_s": 5}]


@pytest.mark.parametrize(
    ("level_db", "word"),
    [(1, "loud"), (-1, "loud"), (-5, "medium"), (-7, "medium"), (-11, "soft"), (-13, "soft")],
)
def test_levels_have_words(level_db, word):
    assert level_of(level_db) == word


def test_boxes_bound_what_is_visible(scene):
    ids = np.zeros((2, 100, 100), np.uint8)
    ids[0, 20:40, 10:30] = 1  # the first guitar
    ids[1, 50:90, 0:100] = 3  # the dog, after the second guitar
    found = [dataclasses.astuple(box) for box in boxes(scene, ids)]
    assert found == [("guitar", 0, 0, 0.1, 0.2, 0.3, 0.4), ("dog", 1, 2, 0.0, 0.5, 1.0, 0.9)]


def test_a_few_pixels_are_no_box(scene):
    ids = np.zeros((1, 100, 100), np.uint8)
    ids[0, 0, :30] = 1
    assert boxes(scene, ids) == ()
