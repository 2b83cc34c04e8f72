"""Maps of classes (AVSS) learnt from files: our own lines and AV-UIE's records, on a tiny network."""

import json
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from tiny_crab import write_tiny

from crab_core.data.pixels import class_colours
from crab_core.errors import UsageError
from crab_core.media import write_video
from crab_core.train.loop import run
from crab_core.weights.folder import read_header

DOG, CAT = 12, 70
STAGE = """{name: tune, kind: language, steps: 10, batch: 2, warmup: 1, rate: 0.05, train: [masks], tasks: {avss: 1},
  save_every: 10}"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("tiny") / "model", capabilities=("avs", "avss"))


def map_of(place: int) -> np.ndarray:
    """A dog on one side, a cat on the other."""
    classes = np.zeros((32, 32), np.uint8)
    classes[8:24, :14], classes[8:24, 18:] = (DOG, CAT) if place else (CAT, DOG)
    return classes


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips in lines of our own."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for number in range(2):
        frames = np.full((8, 32, 32, 3), 90 * number, np.uint8)
        write_video(folder / f"{number}.mp4", frames, 4.0, waveform=np.zeros(32000, np.float32))
        Image.fromarray(map_of(number)).save(folder / f"{number}.png")
        frame = {"time_s": 1, "classes": f"{number}.png", "label": "dog and cat"}
        rows.append({"file": f"{number}.mp4", "seconds": 2, "frames": [frame]})
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "lines.jsonl"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of AVSBench with its map in colours, and its record as AV-UIE has it."""
    folder = tmp_path_factory.mktemp("released")
    place = folder / "v2" / "u1"
    for name in ("frames", "labels_rgb"):
        (place / name).mkdir(parents=True)
    for second in range(10):
        Image.new("RGB", (32, 32), (9 * second, 0, 0)).save(place / "frames" / f"{second}.jpg")
        Image.fromarray(class_colours()[map_of(second % 2)]).save(place / "labels_rgb" / f"{second}.png")
    with wave.open(str(place / "audio.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(bytes(2 * 16000 * 10))
    record = {"vid": "u1", "uid": "u1", "s_min": 0, "s_sec": 0, "a_obj": "dog_cat", "split": "train", "label": "v2"}
    (folder / "avss_samples.json").write_text(json.dumps([record]))
    return folder / "avss_samples.json"


def settings(folder: Path, model: Path, data: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(f"name: tuned\nmodel: {model}\ndata: {{{data}, workers: 0}}\nstages: [{STAGE}]\n")
    return path


@pytest.mark.parametrize("form", ["own", "released"])
def test_maps_of_classes_are_learnt(form: str, model: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = request.getfixturevalue(form)
    data = f"files: [{file}]" if form == "own" else f"av_uie: {{avss: {file}}}"
    run(settings(tmp_path, model, data), out=tmp_path / "run")
    header = read_header(tmp_path / "run" / "model")
    assert header.training["rows"] == {"avss": 2 if form == "own" else 10}
    curve = header.training["curve"]
    assert curve[-1]["mask_loss"] < 0.8 * curve[0]["mask_loss"], [entry["mask_loss"] for entry in curve]
    before, after = (load_file(folder / "model.safetensors") for folder in (model, tmp_path / "run" / "model"))
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed and all(name.startswith("capabilities.avss.mask_decoder.") for name in changed)


def test_a_model_without_such_a_decoder_is_refused(own: Path, tmp_path: Path) -> None:
    plain = write_tiny(tmp_path / "plain", capabilities=("avs",))
    with pytest.raises(UsageError, match="no decoder for maps of classes"):
        run(settings(tmp_path, plain, f"files: [{own}]"), out=tmp_path / "run")


def test_a_class_beyond_the_decoder_is_told_with_its_picture(model: Path, own: Path, tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 99, np.uint8)).save(own.parent / "99.png")
    line = {"id": "odd", "file": "0.mp4", "seconds": 2, "frames": [{"time_s": 1, "classes": "99.png"}]}
    wrong = own.parent / "wrong.jsonl"
    wrong.write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="class 99 of 'odd at 1 s' is beyond the model's 71"):
        run(settings(tmp_path, model, f"files: [{wrong}]"), out=tmp_path / "run")


def test_a_map_that_leaves_the_data_root_is_refused(model: Path, own: Path, tmp_path: Path) -> None:
    line = {"file": "0.mp4", "seconds": 2, "frames": [{"time_s": 1, "classes": "../../0.png"}]}
    wrong = own.parent / "out.jsonl"
    wrong.write_text(json.dumps(line) + "\n")
    with pytest.raises(UsageError, match="leads out"):
        run(settings(tmp_path, model, f"files: [{wrong}]"), out=tmp_path / "run")
