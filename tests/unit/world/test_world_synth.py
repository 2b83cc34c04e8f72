"""Clips on disk: playable files, one row each, and nothing of anybody else's is overwritten."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from crab_core.errors import ResourceError, UsageError
from crab_core.world.bank import load_bank
from crab_core.world.labels import label
from crab_core.world.picture import render_frames
from crab_core.world.questions import describe
from crab_core.world.scene import fingerprint, sample_scene
from crab_core.world.sound import render_sound
from crab_core.world.synth import Film, synthesize

FILM = Film(size=64, fps=4, seconds=4)


@pytest.fixture(scope="module")
def written(tmp_path_factory, fake_bank):
    heard = []
    folder = tmp_path_factory.mktemp("synth") / "new" / "clips"
    rows = synthesize(
        folder,
        2,
        seed=5,
        split="demo",
        bank=fake_bank,
        film=FILM,
        describe=lambda scene, truth: {"questions": [f"how many are heard: {len(truth.heard)}"]},
        on_progress=heard.append,
    )
    return folder, rows, heard


def decoded(path):
    with av.open(str(path)) as container:
        duration_s = container.duration / av.time_base
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        rate = container.streams.audio[0].rate
    return duration_s, np.stack(frames), sound, rate


def test_files_play_what_the_scene_shows_and_sounds(written, fake_bank):
    folder, _, _ = written
    scene = sample_scene("demo", 1, seed=5, bank=fake_bank, seconds=4)
    duration_s, frames, sound, rate = decoded(folder / "00001.mp4")
    assert duration_s == pytest.approx(4)
    assert (frames.shape, rate) == ((16, 64, 64, 3), 16_000)
    drawn = render_frames(scene, fake_bank, 64, [number / 4 for number in range(16)])
    assert np.abs(frames.astype(int) - drawn).mean() < 8
    played = render_sound(scene, fake_bank)
    assert np.corrcoef(sound[: len(played)], played)[0, 1] > 0.95


def test_every_file_has_its_row(written):
    folder, rows, heard = written
    assert sorted(path.name for path in folder.iterdir()) == ["00000.mp4", "00001.mp4", "labels.jsonl"]
    assert [json.loads(line) for line in (folder / "labels.jsonl").read_text().splitlines()] == rows
    assert [row["file"] for row in rows] == ["00000.mp4", "00001.mp4"]
    assert {(row["split"], row["seed"], row["fps"], row["size_px"]) for row in rows} == {("demo", 5, 4, 64)}
    assert rows[0]["questions"] == [f"how many are heard: {len(rows[0]['heard'])}"]
    assert [(told.done, told.total) for told in heard] == [(1, 2), (2, 2)]


def test_boxes_are_pixels_of_the_frame(written):
    _, rows, _ = written
    found = [box for row in rows for box in row["boxes"]]
    assert found
    for box in found:
        x0, y0, x1, y1 = box["box"]
        assert 0 <= x0 < x1 <= 64
        assert 0 <= y0 < y1 <= 64
        assert box["second"] < 4


def test_the_same_call_writes_the_same_bytes(written, tmp_path, fake_bank):
    folder, _, _ = written
    synthesize(tmp_path, 1, seed=5, split="demo", bank=fake_bank, film=FILM)
    assert (tmp_path / "00000.mp4").read_bytes() == (folder / "00000.mp4").read_bytes()


def test_overwriting_leaves_other_files(tmp_path, fake_bank):
    for name in ("notes.txt", "00007.mp4", "labels.jsonl", "00003.mp4.part"):
        (tmp_path / name).write_text("old")
    with pytest.raises(UsageError, match="not empty"):
        synthesize(tmp_path, 1, bank=fake_bank, film=FILM)
    synthesize(tmp_path, 1, bank=fake_bank, film=FILM, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000.mp4", "labels.jsonl", "notes.txt"]
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 1


def test_a_clip_that_fails_leaves_no_row(tmp_path, fake_bank):
    def fail(scene, truth):
        raise RuntimeError("no questions")

    with pytest.raises(RuntimeError):
        synthesize(tmp_path, 1, bank=fake_bank, film=FILM, describe=fail)
    assert not (tmp_path / "labels.jsonl").exists()
    assert not (tmp_path / "00000.mp4").exists()


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"clips": 0}, "'0'"), ({"seed": -1}, "'-1'"), ({"split": "vall"}, "'vall'")],
    ids=["no clips", "negative seed", "unknown split"],
)
def test_mistakes_are_named_before_anything_is_written(tmp_path, fake_bank, changes, named):
    values = {"clips": 1, "seed": 0, "split": "train", **changes}
    with pytest.raises(UsageError, match=named):
        synthesize(tmp_path / "clips", values.pop("clips"), bank=fake_bank, film=FILM, **values)
    assert not (tmp_path / "clips").exists()


def test_a_file_is_no_folder(tmp_path, fake_bank):
    (tmp_path / "clips").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        synthesize(tmp_path / "clips", 1, bank=fake_bank)


def test_a_folder_that_cannot_be_made(tmp_path, fake_bank):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot write clips"):
        synthesize(tmp_path / "file" / "clips", 1, bank=fake_bank, film=FILM)


@pytest.mark.parametrize("values", [{"size": 63}, {"size": 0}, {"size": 5000}, {"fps": 0}, {"fps": 1000}], ids=str)
def test_a_film_has_bounds(values):
    with pytest.raises(UsageError, match=f"'{next(iter(values.values()))}'"):
        Film(**values)


def test_the_shipped_bank_is_the_default(tmp_path):
    (row,) = synthesize(tmp_path, 1, split="demo", film=FILM)
    assert row["generator"]


def test_labels_of_the_shipped_clips_are_what_the_generator_says_of_them(repo):
    bank = load_bank()
    for line in (repo / "examples/clips/labels.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        scene = sample_scene(row["split"], row["index"], seed=row["seed"], bank=bank, seconds=row["seconds"])
        told = describe(scene, label(scene))
        assert {key: row[key] for key in told} == told
        assert row["generator"] == fingerprint(bank)
