"""Pictures show what the labels say, at every size, and are always the same."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from crab_core.world.backdrop import PATTERNS, Drift, paint
from crab_core.world.bank import load_bank
from crab_core.world.labels import boxes
from crab_core.world.picture import render, render_frames, render_ids
from crab_core.world.scene import BACKDROPS, sample_scene
from crab_core.world.spec import Backdrop


def test_frames_and_ids_have_one_picture_a_second(fake_bank):
    scene = sample_scene("train", 1, bank=fake_bank, seconds=6)
    frames, ids = render(scene, fake_bank, size=64)
    assert (frames.shape, frames.dtype) == ((6, 64, 64, 3), np.uint8)
    assert (ids.shape, ids.dtype) == ((6, 64, 64), np.uint8)
    assert np.array_equal(render_frames(scene, fake_bank, 64), frames)
    assert np.array_equal(render_ids(scene, fake_bank, 64), ids)


def test_any_time_can_be_drawn_alone(fake_bank):
    scene = sample_scene("train", 4, bank=fake_bank)
    whole = render_frames(scene, fake_bank, 64, [0.0, 2.5, 7.25])
    assert np.array_equal(render_frames(scene, fake_bank, 64, [7.25])[0], whole[2])


@pytest.mark.parametrize("split", ["val", "geometry"])
def test_seen_means_one_percent_of_the_frame_and_unseen_none(split):
    bank = load_bank()
    for index in range(25):
        scene = sample_scene(split, index, bank=bank)
        ids = render_ids(scene, bank)
        for number, (actor, _) in enumerate(scene.figures):
            shares = (ids == number + 1).mean(axis=(1, 2))
            truth = np.array([actor.seen.holds(second) for second in range(scene.seconds)])
            assert shares[truth].min() > 0.01
            assert not shares[~truth].any()


def test_boxes_stand_in_the_column_of_their_label(fake_bank):
    for index in range(40):
        scene = sample_scene("test", index, bank=fake_bank)
        for box in boxes(scene, render_ids(scene, fake_bank)):
            third = int((box.x0 + box.x1) / 2 * 3)
            assert ("left", "middle", "right")[third] == scene.figures[box.figure][1].column


def test_a_drawing_differs_from_what_is_behind_it():
    bank = load_bank()
    for index in range(15):
        scene = sample_scene("val", index, bank=bank)
        behind = render_frames(dataclasses.replace(scene, actors=()), bank)
        frames, ids = render(scene, bank)
        changed = np.abs(frames.astype(int) - behind).max(axis=-1)
        assert not changed[ids == 0].mean() > 2
        assert all(changed[ids == one].mean() > 20 for one in np.unique(ids[ids > 0]))


def test_size_changes_the_resolution_only(fake_bank):
    scene = sample_scene("train", 8, bank=fake_bank)
    large = render_frames(scene, fake_bank, 224, [0.0])[0]
    small = render_frames(scene, fake_bank, 112, [0.0])[0]
    shrunk = cv2.resize(large, (112, 112), interpolation=cv2.INTER_AREA)
    assert np.abs(shrunk.astype(int) - small).mean() < 8


def test_what_is_in_front_hides_what_is_behind(fake_bank):
    scene = next(
        scene
        for index in range(50)
        if len((scene := sample_scene("train", index, bank=fake_bank)).figures) >= 2
        and all(actor.seen is None or actor.seen.start_s == 0 for actor in scene.actors)
    )
    (first, front), (_, behind) = scene.figures[:2]
    moved = dataclasses.replace(behind, x=front.x, y=front.y, sway_x=0.0, sway_y=0.0)
    still = dataclasses.replace(front, sway_x=0.0, sway_y=0.0)
    pair = tuple(dataclasses.replace(first, name="dog", figures=(figure,)) for figure in (still, moved))
    ids = render_ids(dataclasses.replace(scene, actors=pair), fake_bank, times=[0.0])[0]
    assert ids[int(front.y * 112), int(front.x * 112)] != 1


@pytest.mark.parametrize("kind", sorted(PATTERNS))
def test_backdrops_are_calm_and_repeatable(kind):
    canvas = paint(Backdrop(kind, 5), 112)
    assert canvas.shape == (134, 134, 3)
    assert np.array_equal(canvas, paint(Backdrop(kind, 5), 112))
    assert not np.array_equal(canvas, paint(Backdrop(kind, 6), 112))
    assert canvas.std(axis=(0, 1)).max() < 45


def test_every_backdrop_can_be_painted():
    assert {kind for kinds in BACKDROPS.values() for kind in kinds} == set(PATTERNS)


def test_a_backdrop_drifts_within_its_canvas():
    drift = Drift(paint(Backdrop("clouds", 3), 50), 50, 3)
    views = [drift.at(time_s) for time_s in range(0, 120, 7)]
    assert {view.shape for view in views} == {(50, 50, 3)}
    assert not np.array_equal(views[0], views[1])
