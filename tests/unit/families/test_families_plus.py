"""The Crab+ family on its tiny random model: views, prompts, precisions, packed weights, memory, heads."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_family import write_clip
from tiny_plus import write_plus

from crab_core.engine.session import load
from crab_core.errors import ModelError, WeightsMismatch
from crab_core.families._base import HeadsNetwork, Precision
from crab_core.families.crab_plus import FAMILY
from crab_core.families.plus_network import PlusNetwork
from crab_core.families.steps import FixedSteps
from crab_core.nn.ilora import to_published
from crab_core.nn.plus import PlusModel
from crab_core.nn.plus_config import PlusConfig, PlusMedia
from crab_core.nn.plus_media import size_for
from crab_core.nn.stored import without_weights
from crab_core.stats import collecting
from crab_core.types import Clip, Decoding, Part, Prompt

FULL_SIZE = {
    "text_config": {
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "tie_word_embeddings": False,
    },
    "audio_config": {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120},
    "vision_config": {"depth": 32, "hidden_size": 1280, "num_heads": 16, "intermediate_size": 3420},
}
PROMPT = Prompt((Part("text", "A film:"), Part("video"), Part("audio"), Part("text", "What is <|im_end|> heard?")))
GREEDY = Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_plus(tmp_path_factory.mktemp("plus") / "model")


@pytest.fixture(scope="module")
def network(folder: Path) -> PlusNetwork:
    return FAMILY.load(folder, Precision())


def make_clip(network: PlusNetwork, seconds: float, width: int = 224, height: int = 224, task: str = "ave") -> Clip:
    draws = np.random.default_rng(7)
    view = network.view(task, seconds)
    lengths = [round((end - start) * 16_000) for start, end in view.sound_windows_s]
    return Clip(
        path=Path("clip.mp4"),
        duration_s=seconds,
        frame_times_s=np.array(view.frame_times_s),
        frames=draws.integers(0, 255, (len(view.frame_times_s), height, width, 3), np.uint8),
        waveform=draws.normal(size=sum(lengths)).astype(np.float32) / 10,
        sound_windows_s=view.sound_windows_s,
        size=(width, height),
        audio="used",
    )


def test_ten_frames_are_five_nominal_steps_of_two_seconds(network):
    seen = network.encode(make_clip(network, 10.0), "ave")
    assert seen.features["video"].shape == (5, 64, 64)
    assert seen.features["audio"].shape == (10, 25, 64)
    assert (seen.grids["video"].rows, seen.grids["video"].columns, seen.grids["video"].step_s) == (8, 8, 2.0)
    written = network.generate(seen, PROMPT, GREEDY)
    kinds = [(span.kind, span.end - span.start) for span in written.spans]
    assert [count for kind, count in kinds if kind == "video"] == [64] * 5
    assert [count for kind, count in kinds if kind == "audio"] == [25] * 10
    assert written.prompt_tokens == written.spans[-1].end


@pytest.mark.parametrize(
    ("task", "seconds", "frames", "heard_s"),
    [
        pytest.param("ave", 10.0, 10, 10.0, id="ten-seconds"),
        pytest.param("ave", 3.0, 10, 3.0, id="short-clip-whole"),
        pytest.param("action", 25.0, 10, 25.0, id="up-to-thirty-seconds-whole"),
        pytest.param("action", 600.0, 10, 10.0, id="long-clip-a-second-a-look"),
        pytest.param("avqa", 60.0, 10, 20.0, id="two-seconds-around-each-look"),
        pytest.param("emotion", 7.0, 4, 4.0, id="emotion-four-of-each"),
    ],
)
def test_what_is_seen_and_heard(network, task, seconds, frames, heard_s):
    view = network.view(task, seconds)
    assert len(view.frame_times_s) == frames
    assert sum(end - start for start, end in view.sound_windows_s) == pytest.approx(heard_s)
    assert 0 < view.frame_times_s[0] < 0.04 and seconds - 0.04 < view.frame_times_s[-1] < seconds


def test_native_media_keep_their_shape_and_time(tmp_path):
    network = FAMILY.load(write_plus(tmp_path / "model", media="native"), Precision())
    assert network.frame_size is None
    seen = network.encode(make_clip(network, 4.0, width=112, height=56), "ave")
    grid = seen.grids["video"]
    assert (grid.rows, grid.columns, grid.step_s) == (2, 4, 2.0)  # two frames, a second apart
    assert seen.features["video"].shape == (2, 8, 64)
    assert network.generate(seen, PROMPT, GREEDY).prompt_tokens > 0


@pytest.mark.parametrize("size", [(3840, 2160), (100, 4000), (640, 360), (1, 1)])
def test_native_sizes_are_bounded_and_of_whole_tokens(size):
    media = PlusMedia(profile="native")
    width, height = size_for(media, *size)
    assert width % 28 == height % 28 == 0 and 0 < width * height <= media.most_pixels
    if min(size) > 100:
        assert width / height == pytest.approx(size[0] / size[1], rel=0.1)


def test_what_a_user_says_is_never_a_mark(network):
    ids, end = network.chat.prompt_ids(PROMPT), network.chat.end_id
    assert ids.count(end) == 2, "one ends the system's words, one the user's"
    text = network.chat.spelled(ids)
    assert text.startswith("<|im_start|>system\nYou are Qwen, a virtual human")
    assert text.endswith("What is <|im_end|> heard?<|im_end|>\n<|im_start|>assistant\n")
    assert "<|vision_bos|><|VIDEO|><|vision_eos|><|audio_bos|><|AUDIO|><|audio_eos|>" in text


def test_a_medium_that_is_named_twice_is_shown_once(network):
    twice = Prompt((Part("text", "Two films:"), Part("audio"), Part("video"), Part("video"), Part("text", "Which?")))
    assert sorted(network.chat.placeholders[one] for one in network.chat.prompt_ids(twice) if one in PLACES) == [
        "audio",
        "video",
    ]


PLACES = (260, 266, 267)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_everything_computes_in_the_dtype_that_was_asked_for(folder, dtype):
    network = FAMILY.load(folder, Precision(dtype=dtype))
    assert {one.dtype for one in network.model.parameters()} == {getattr(torch, dtype)}
    assert network.model.text.rotary_emb.inv_freq.dtype == torch.float32, "positions stay exact"
    seen = network.encode(make_clip(network, 2.0), "ave")
    assert len(network.generate(seen, PROMPT, GREEDY).token_ids) == 6


OTHERS = [Prompt((*PROMPT.parts[:3], Part("text", text))) for text in ("Who?", "What is seen, and when?")]


@pytest.mark.parametrize("decoding", [GREEDY, Decoding(6, temperature=1.5, seed=3)], ids=["greedy", "sampled"])
def test_a_second_question_reads_the_clip_from_memory_and_answers_as_a_fresh_one(network, decoding):
    seen, memory = network.encode(make_clip(network, 10.0), "avqa"), network.memory()
    for prompt in [PROMPT, *OTHERS, PROMPT]:
        told = network.generate_with(memory, seen, prompt, decoding)
        assert told == network.generate(seen, prompt, decoding)
    assert memory.reused == max(span.end for span in told.spans if span.kind != "text")


def test_questions_about_some_clips_answered_together_read_each_clip_once(network):
    clips = [network.encode(make_clip(network, seconds), "avqa") for seconds in (10.0, 4.0)]
    asked = [(clips[which], prompt) for which, prompt in ((0, PROMPT), (1, OTHERS[0]), (0, OTHERS[1]), (1, PROMPT))]
    alone = [network.generate(seen, prompt, GREEDY) for seen, prompt in asked]
    with collecting() as stats:
        together = network.generate_batch(*map(list, zip(*asked, strict=True)), GREEDY)
    assert together == alone
    media = [max(span.end for span in one.spans if span.kind != "text") for one in alone]
    assert media[0] != media[1] and stats.counts["reused_tokens"] == media[0] + media[1]


def test_fixed_steps_write_what_growing_ones_write(network):
    clips = [network.encode(make_clip(network, seconds), "avqa") for seconds in (10.0, 4.0)]
    fixed = replace(network, steps=FixedSteps("plain"))
    for seen, prompt in ((clips[0], PROMPT), (clips[1], OTHERS[0])):
        assert fixed.generate(seen, prompt, GREEDY) == network.generate(seen, prompt, GREEDY)
    assert fixed.steps.made == 1
    together = fixed.generate_batch(clips, OTHERS, GREEDY)
    assert together == [network.generate(seen, prompt, GREEDY) for seen, prompt in zip(clips, OTHERS, strict=True)]


def test_other_heads_and_other_times_are_not_taken_from_memory(network):
    seen, memory = network.encode(make_clip(network, 10.0), "avqa"), network.memory()
    network.generate_with(memory, seen, PROMPT, GREEDY)
    with network.inside().only([1]):
        assert network.generate_with(memory, seen, PROMPT, GREEDY) == network.generate(seen, PROMPT, GREEDY)
        assert memory.reused == 0
    slower = replace(seen, grids={"video": replace(seen.grids["video"], step_s=4.0)})
    network.generate_with(memory, seen, PROMPT, GREEDY)
    assert network.generate_with(memory, slower, PROMPT, GREEDY) == network.generate(slower, PROMPT, GREEDY)
    assert memory.reused == 0, "the same tokens at other times are another film"


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
def test_only_the_text_decoder_is_packed_and_a_packed_folder_answers_the_same(folder, tmp_path, kind):
    loaded = FAMILY.load(folder, Precision(quantize=kind))
    packed = {name for name, one in loaded.model.named_modules() if type(one).__module__.startswith("bitsandbytes")}
    assert len(packed) == 14 and not any("tower" in name or "visual" in name for name in packed)
    FAMILY.quantize_folder(folder, kind, tmp_path / "packed")
    stored = FAMILY.load(tmp_path / "packed", Precision())
    seen = loaded.encode(make_clip(loaded, 2.0), "ave")
    assert loaded.generate(seen, PROMPT, GREEDY) == stored.generate(seen, PROMPT, GREEDY)


def test_memory_is_told_from_headers(folder):
    exact = FAMILY.needs(folder, Precision(), 256)
    network = FAMILY.load(folder, Precision())
    assert exact.weights == sum(4 * one.numel() for one in network.model.parameters())
    packed = FAMILY.needs(folder, Precision(quantize="4bit"), 256)
    assert packed.weights < exact.weights and packed.total > packed.weights


def test_the_full_size_network_has_the_published_adapter():
    """1 940 tensors in 388 linears: 196 of the decoder, 96 of each tower."""
    config = PlusConfig.from_dict({"thinker": FULL_SIZE, "ilora": {"heads": 3, "rank": 128, "alpha": 256.0}})
    with without_weights():
        tensors = PlusModel(config).tensors()
    adapter = to_published({name: one for name, one in tensors.items() if ".ilora_" in name})
    assert len(adapter) == 1940
    assert {part: sum(name.startswith(part) for name in adapter) for part in ("model.", "audio_tower.", "visual.")} == {
        "model.": 196 * 5,
        "audio_tower.": 96 * 5,
        "visual.": 96 * 5,
    }
    assert sum(one.numel() for one in adapter.values()) == pytest.approx(870.5e6, rel=1e-3)
    assert adapter["visual.blocks.31.mlp.down_proj.lora_B2.weight"].shape == (1280, 128)


def test_writing_equals_generating_with_the_published_loop(repo):
    """The benchmark's two ways: our loop and layers, and transformers' `generate()` with heads one by one."""
    measure = runpy.run_path(str(repo / "benchmarks" / "plus.py"))["measure"]
    told = measure("tiny", "cpu", torch.float32, "none", 8)
    assert told["same_tokens"] and told["next_question_tokens_a_second"] > 0


def test_a_header_of_other_weights_is_told(folder, tmp_path):
    other = write_plus(tmp_path / "model")
    header = json.loads((other / "crab.json").read_text())
    header["config"]["ilora"]["heads"] = 2
    (other / "crab.json").write_text(json.dumps(header))
    with pytest.raises(ModelError, match="3 heads of rank 8, their header says 2"):
        FAMILY.load(other, Precision())
    header["config"]["ilora"] = None
    (other / "crab.json").write_text(json.dumps(header))
    with pytest.raises(WeightsMismatch, match="ilora"):
        FAMILY.load(other, Precision())


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        pytest.param("text_config", "num_hidden_layers", 10**9, id="layers"),
        pytest.param("vision_config", "depth", 10**9, id="depth"),
        pytest.param("audio_config", "d_model", 10**9, id="width"),
    ],
)
def test_sizes_that_no_machine_holds_are_refused(folder, part, key, value):
    config = json.loads((folder / "crab.json").read_text())["config"]
    config["thinker"][part][key] = value
    with pytest.raises(ValueError, match=f"{part}.{key} must be at most"):
        PlusConfig.from_dict(config)


def test_watching_the_heads_changes_nothing(network):
    assert isinstance(network, HeadsNetwork)
    inside, seen = network.inside(), network.encode(make_clip(network, 10.0), "ave")
    plain = network.generate(seen, PROMPT, GREEDY)
    watched, routes = inside.routes(seen, PROMPT, GREEDY, raw=True)
    assert watched == plain
    assert routes.weights.shape == (2 * 7, plain.prompt_tokens + len(plain.token_ids) - 1, 3)
    np.testing.assert_allclose(routes.weights.sum(-1), 1, atol=1e-6)
    assert routes.routers[0].startswith("model.layers.0.")
    texts = sum(span.end - span.start for span in plain.spans if span.kind == "text")
    assert len(inside.prompt_pieces(PROMPT)) == texts


@pytest.mark.parametrize("method", ["attention", "gradient"])
def test_relevance_is_of_the_positions_before_the_target(network, method):
    inside, seen = network.inside(), network.encode(make_clip(network, 10.0), "ave")
    written = network.generate(seen, PROMPT, GREEDY)
    found = inside.relevance(seen, PROMPT, written.token_ids, [2], method)
    assert found.shape == (written.prompt_tokens + len(written.token_ids),)
    assert (found[written.prompt_tokens + 2 :] == 0).all() and found[: written.prompt_tokens].max() > 0
    assert network.generate(seen, PROMPT, GREEDY) == written, "the usual attention is back"


def test_forcing_what_was_written_has_the_highest_probability(network):
    inside, seen = network.inside(), network.encode(make_clip(network, 4.0), "ave")
    first = network.generate(seen, PROMPT, GREEDY).token_ids[:1]
    best = inside.log_probability(seen, PROMPT, first)
    assert all(best >= inside.log_probability(seen, PROMPT, (other,)) for other in (40, 80, 120))


@pytest.mark.parametrize("task", ["ave", "arig"])
def test_a_report_of_the_heads(folder, tmp_path, task):
    seen = load(folder, device="cpu").look(write_clip(tmp_path / "clip.mp4"), task=task)
    report = seen.heads(task=task, decoding=GREEDY)
    assert report.shares.shape[-1] == 3 and set(report.maps) == {"video", "audio"}
    assert sum(float(one.sum()) for one in report.maps.values()) == pytest.approx(1, abs=1e-4)
    assert len(report.frames) == report.maps["video"].shape[1]
    assert len(report.sound_windows_s) == report.maps["audio"].shape[1]
