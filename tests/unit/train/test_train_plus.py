"""Runs from files that start from a tiny random Crab+: its adapters learn, in the decoder and in both towers."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_plus import write_plus

from crab_core.config import load_config
from crab_core.engine.session import load
from crab_core.errors import UsageError
from crab_core.families._base import Precision
from crab_core.families.crab_plus import FAMILY
from crab_core.media import load_clip, write_video
from crab_core.registry import TASKS
from crab_core.train.estimate import plans
from crab_core.train.lessons import Lesson, Text
from crab_core.train.looking import Looker
from crab_core.train.loop import run
from crab_core.train.plus_stage import PlusStage, PlusWriter
from crab_core.train.settings import TrainSettings
from crab_core.types import Decoding
from crab_core.weights.folder import read_header, verify

STAGE = (
    "{name: tune, kind: language, steps: 5, batch: 2, samples: 2, warmup: 1, rate: 0.003, train: [ilora], tasks: %s}"
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plus(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips with questions, an event, and a box of a picture."""
    folder = tmp_path_factory.mktemp("files")
    rows = []
    for number in range(2):
        frames = np.full((8, 32, 32, 3), 90 * number, np.uint8)
        tone = np.sin(np.arange(32000) * (0.1 + number)).astype(np.float32) / 3
        write_video(folder / f"{number}.mp4", frames, 4.0, waveform=tone)
        asked = [{"question": f"What is it {n}?", "answer": "dog"} for n in range(1, 3)]
        events = [{"label": "dog", "start_s": 0, "end_s": 1 + number, "track": "both"}]
        box = [{"label": "dog", "box": [2, 2, 20, 20]}]
        shots = [{"time_s": 0.5, "boxes": box, "masks": [{"label": "dog", "file": "mask.png"}]}]
        row = {"file": f"{number}.mp4", "seconds": 2, "size": [32, 32], "questions": asked, "events": events}
        rows.append({**row, "frames": shots} if number == 0 else row)
    cv2.imwrite(str(folder / "mask.png"), np.eye(32, dtype=np.uint8) * 255)
    (folder / "lines.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "lines.jsonl"


def write_config(folder: Path, tiny: Path, data: Path, tasks: str) -> Path:
    path = folder / "run.yaml"
    path.write_text(f"name: tuned\nmodel: {tiny}\ndata: {{files: [{data}]}}\nstages: [{STAGE % tasks}]\n")
    return path


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([], id="exact"),
        pytest.param(["quantize=4bit", "checkpointing=true", "stages.0.accumulate=2"], id="qlora"),
        pytest.param(["precision=bf16", "stages.0.steps=3"], id="bf16"),
    ],
)
def test_the_adapters_of_all_parts_learn_and_nothing_else(tiny, data, tmp_path, changes):
    config = write_config(tmp_path, tiny, data, "{avqa: 2, ave: 1, arig: 1}")
    out = tmp_path / "run"
    run(config, changes, out=out)
    losses = [entry["loss"] for entry in read_header(out / "model").training["curve"]]
    assert losses[-1] < losses[0]
    header = verify(out / "model")
    assert (header.family, header.name, header.quantized) == ("crab-plus", "tuned", "none")
    before, after = (load_file(one / "adapter.safetensors") for one in (tiny, out / "model"))
    assert before.keys() == after.keys()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"model", "audio_tower", "visual"}
    assert (out / "model" / "thinker-01.safetensors").samefile(tiny / "thinker-01.safetensors")
    clip = data.parent / "0.mp4"
    assert load(out / "model", device="cpu").look(clip).ask("What?", decoding=Decoding(max_new_tokens=3)).raw_text


def test_masks_without_words_are_refused(tiny, data, tmp_path):
    config = write_config(tmp_path, tiny, data, "{s4: 1}")
    with pytest.raises(UsageError, match="tells a mask by a box and points"):
        run(config, [], out=tmp_path / "run")


def test_the_loss_is_that_of_what_the_network_would_have_written(tiny, data):
    """The mean over the target's tokens of the log-probability that generating gives them."""
    network = FAMILY.load(tiny, Precision())
    lesson = Lesson(data.parent, "1.mp4", None, "avqa", None, (Text("What is it?", "A dog.", "one"),))
    (looked,) = Looker(network, "plus", [lesson], workers=0).look([0])
    piece = PlusWriter(network.chat, 1.0, 32768).piece([looked], "")
    stage = PlusStage(network.model, network.chat, network.chat.pad_id, torch.float32).eval()
    told = stage(piece, piece.tokens, 0.0)
    view = network.view("avqa", 2.0)
    seen = network.encode(load_clip(data.parent / "1.mp4", view, frame_size=network.frame_size), "avqa")
    prompt = TASKS["avqa"].load().wording("What is it?", "plus")
    ids = network.chat.target_ids("A dog.")
    before = network.chat.prompt_ids(prompt)
    with torch.inference_mode():
        asked = network.prompts([seen], [before[:-1]])
        states = network.model.read(asked.spliced.embeds, asked.spliced.attention_mask, asked.stands)
        newline = network.model.logits(states[:, -1]).log_softmax(-1)[0, before[-1]]
    assert int(told["tokens"]) == piece.tokens == len(ids) + 1, "the newline of the chat is learnt too"
    chance = float(newline) + network.inside().log_probability(seen, prompt, ids)
    assert float(told["loss"]) * piece.tokens == pytest.approx(-chance, rel=1e-4)


def test_a_plan_reads_no_weights(tiny, data, tmp_path):
    settings = load_config(TrainSettings, write_config(tmp_path, tiny, data, "{avqa: 1}"))
    (plan,) = plans(settings)
    tensors = [load_file(path) for path in tiny.glob("*.safetensors")]
    assert plan.learning == sum(one.numel() for held in tensors for name, one in held.items() if "ilora" in name)
    assert plan.memory > 4 * plan.learning and plan.least_s is not None
