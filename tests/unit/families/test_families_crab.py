import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from crab_core.errors import ModelError, UsageError, WeightsMismatch
from crab_core.families._base import Encoded, Precision
from crab_core.families.crab import FAMILY
from crab_core.families.crab_text import Chat, Teller
from crab_core.nn.crab_config import MediaConfig
from crab_core.tasks.wording import of_video
from crab_core.types import Clip, Decoding, Part, Prompt

PROMPT = of_video("Please answer this question: what sounds first?")
GREEDY = Decoding(max_new_tokens=12)


@pytest.fixture(scope="module")
def network(tiny_folder):
    return FAMILY.load(tiny_folder, Precision())


@pytest.fixture(scope="module")
def clip(network):
    return make_clip(network, 4.0)


def make_clip(network, duration_s, *, frames=True, sound=True, size=(32, 32)) -> Clip:
    view = network.view("avqa", duration_s)
    random = np.random.default_rng(int(duration_s * 10))
    windows = view.sound_windows_s if sound else ()
    samples = sum(round((end - start) * 16_000) for start, end in windows)
    count = len(view.frame_times_s) if frames else 0
    return Clip(
        path="clip.mp4",
        duration_s=duration_s,
        frame_times_s=np.array(view.frame_times_s[:count]),
        frames=random.integers(0, 255, (count, size[1], size[0], 3), dtype=np.uint8),
        waveform=(random.standard_normal(samples) * 0.1).astype(np.float32),
        sound_windows_s=windows,
        size=size,
        audio="used" if sound else "absent",
    )


@pytest.mark.parametrize(
    ("duration_s", "frame_times_s", "second_s"),
    [
        pytest.param(0.0, [0.0], 1.0, id="still-picture"),
        pytest.param(0.3, [0.0], 1.0, id="shorter-than-a-second"),
        pytest.param(3.4, [0.0, 3.4 / 3, 6.8 / 3], 1.0, id="3.4s"),
        pytest.param(10.0, list(range(10)), 1.0, id="trained-length"),
        pytest.param(10.5, [i * 1.05 for i in range(10)], 1.0, id="trained-length-and-slack"),
        pytest.param(11.0, [i * 1.1 for i in range(10)], 1.1, id="just-longer"),
        pytest.param(600.0, [60.0 * i for i in range(10)], 60.0, id="ten-minutes"),
    ],
)
def test_view(network, duration_s, frame_times_s, second_s):
    view = network.view("ave", duration_s)
    assert view.frame_times_s == pytest.approx(frame_times_s)
    assert view.second_s == pytest.approx(second_s)
    starts = [look * second_s for look in range(len(frame_times_s))]
    assert np.array(view.sound_windows_s) == pytest.approx(np.array([[start, start + 1] for start in starts]))


def test_published_questions_hear_two_seconds_around_each_look(network):
    config = dataclasses.replace(network.model.config, media=MediaConfig(wide_window_tasks=("avqa",)))
    wide = dataclasses.replace(network, model=type("Model", (), {"config": config}))
    assert wide.view("avqa", 60.0).sound_windows_s[:2] == ((-0.5, 1.5), (5.5, 7.5))
    assert wide.view("ave", 10.0).sound_windows_s[:2] == ((0.0, 1.0), (1.0, 2.0))


@pytest.mark.parametrize(
    ("frames", "sound", "expected"),
    [
        pytest.param(True, True, {"video": (4, 3, 48), "audio": (4, 2, 48)}, id="both"),
        pytest.param(True, False, {"video": (4, 3, 48)}, id="video-only"),
        pytest.param(False, True, {"audio": (4, 2, 48)}, id="audio-only"),
        pytest.param(False, False, {}, id="neither"),
    ],
)
def test_answers_with_the_media_that_there_are(network, frames, sound, expected):
    encoded = network.encode(make_clip(network, 4.0, frames=frames, sound=sound), "avqa")
    assert {kind: tuple(rows.shape) for kind, rows in encoded.features.items()} == expected
    generated = network.generate(encoded, PROMPT, GREEDY)
    assert {span.kind for span in generated.spans} == {"text", *expected}
    assert generated.token_ids


def test_frames_of_another_size_are_brought_to_the_networks(network):
    encoded = network.encode(make_clip(network, 2.0, size=(64, 48)), "avqa")
    assert encoded.features["video"].shape == (2, 3, 48)


def test_a_batch_equals_one_at_a_time(network):
    clips = [make_clip(network, 2.0), make_clip(network, 7.0, sound=False), make_clip(network, 4.0)]
    encoded = [network.encode(clip, "avqa") for clip in clips]
    prompts = [PROMPT, of_video("Please describe this video."), of_video("what?")]
    alone = [network.generate(one, prompt, GREEDY) for one, prompt in zip(encoded, prompts, strict=True)]
    assert network.generate_batch(encoded, prompts, GREEDY) == alone
    assert len({one.text for one in alone}) == 3


def test_sampled_batch_equals_one_at_a_time(network, clip):
    encoded = network.encode(clip, "avqa")
    sampled = Decoding(max_new_tokens=8, temperature=1.5, seed=3)
    alone = network.generate(encoded, PROMPT, sampled)
    assert network.generate_batch([encoded, encoded], [PROMPT, PROMPT], sampled) == [alone, alone]
    assert alone != network.generate(encoded, PROMPT, Decoding(max_new_tokens=8, temperature=1.5, seed=4))


def test_frames_are_square_and_of_the_configs_size(network):
    assert network.frame_size == (32, 32)


def test_an_empty_batch_is_empty(network):
    assert network.generate_batch([], [], GREEDY) == []


def test_sampling_leaves_the_callers_random_state_alone(network, clip):
    before = torch.random.get_rng_state()
    network.generate(network.encode(clip, "avqa"), PROMPT, Decoding(max_new_tokens=2, temperature=1.0))
    assert torch.equal(before, torch.random.get_rng_state())


def test_text_is_told_while_it_is_written(network, clip):
    pieces: list[str] = []
    generated = network.generate(network.encode(clip, "avqa"), PROMPT, GREEDY, pieces.append)
    assert "".join(pieces) == generated.text
    assert len(pieces) > 1
    assert generated.stopped == "length"


def test_spans_say_which_positions_are_what(network, clip):
    generated = network.generate(network.encode(clip, "avqa"), PROMPT, Decoding(max_new_tokens=1))
    spans = generated.spans
    assert spans[0].start == 0
    assert [span.end for span in spans[:-1]] == [span.start for span in spans[1:]]
    assert spans[-1].end == generated.prompt_tokens
    assert [span.index for span in spans if span.kind == "video"] == [0, 1, 2, 3]
    assert {span.end - span.start for span in spans if span.kind == "audio"} == {2}


def test_a_prompt_without_room_for_an_answer_is_refused(network):
    with pytest.raises(UsageError, match="places of the model's 512"):
        network.generate(Encoded({}), of_video("word " * 600), GREEDY)


def test_new_tokens_end_where_the_positions_do(network):
    prompt = Prompt((Part("text", "z" * 480),))
    generated = network.generate(Encoded({}), prompt, Decoding(max_new_tokens=400))
    assert generated.prompt_tokens + len(generated.token_ids) <= 512
    assert generated.stopped == "positions"  # a higher limit would not help
    assert network.generate(Encoded({}), prompt, Decoding(max_new_tokens=1)).stopped == "length"


def test_characters_are_told_whole(network):
    tokenizer, told = network.chat.tokenizer, []
    teller = Teller(network.chat, told.append)
    ids = tokenizer("a🦀b", add_special_tokens=False).input_ids
    assert len(ids) > 4  # the crab is four bytes
    for token in ids:
        teller.put([token])
    teller.end()
    assert "".join(told) == "a🦀b"
    assert not any("\ufffd" in piece for piece in told)


def test_what_stays_unfinished_is_told_at_the_end(network):
    told: list[str] = []
    teller = Teller(network.chat, told.append)
    crab = network.chat.tokenizer("🦀", add_special_tokens=False).input_ids
    for token in crab[:-1]:
        teller.put([token])
    assert "".join(told).strip() == ""
    teller.end()
    assert "\ufffd" in "".join(told)


def test_loading_gives_the_same_network(network, tiny_model, clip):
    for name, tensor in tiny_model.tensors().items():
        assert torch.equal(network.model.tensors()[name], tensor), name
    assert not any(parameter.requires_grad for parameter in network.model.parameters())
    assert not network.model.training


def test_half_precision(tiny_folder):
    half = FAMILY.load(tiny_folder, Precision(dtype="bfloat16"))
    encoded = half.encode(make_clip(half, 2.0), "avqa")
    assert encoded.features["video"].dtype == torch.bfloat16
    assert half.generate(encoded, PROMPT, Decoding(max_new_tokens=2)).token_ids


@pytest.mark.parametrize("kind", ["4bit", "8bit"])
@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
def test_quantised_decoder(tiny_folder, network, clip, kind):
    quantised = FAMILY.load(tiny_folder, Precision(quantize=kind))
    encoded = quantised.encode(clip, "avqa")
    assert torch.equal(encoded.features["video"], network.encode(clip, "avqa").features["video"])
    assert quantised.generate(encoded, PROMPT, Decoding(max_new_tokens=2)).token_ids
    linear = quantised.model.llm.model.layers[0].mlp.up_proj.base_layer
    assert linear.weight.dtype in (torch.uint8, torch.int8)


def damaged(tiny_folder, tmp_path, change):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    header = json.loads((folder / "crab.json").read_text())
    change(header)
    (folder / "crab.json").write_text(json.dumps(header))
    return folder


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        pytest.param(lambda h: h["config"].update(colour=1), ModelError, "colour", id="unknown-key"),
        pytest.param(lambda h: h["config"].pop("vl"), ModelError, "vl", id="lacking-key"),
        pytest.param(lambda h: h["config"]["ilora"].update(heads=5), ModelError, "3 heads of rank 4", id="heads"),
        pytest.param(lambda h: h["config"]["ilora"].update(rank=8), ModelError, "3 heads of rank 4", id="rank"),
        pytest.param(lambda h: h["config"].update(ilora=None), WeightsMismatch, "unknown", id="no-adapter"),
        pytest.param(lambda h: h["config"].update(time_tags=0), WeightsMismatch, "video_tags", id="no-tags"),
        pytest.param(lambda h: h["config"]["vl"].update(queries=4), ModelError, "queries", id="shape"),
        pytest.param(lambda h: h["config"]["visual"].update(kind="eye"), ModelError, "eye", id="encoder"),
        pytest.param(lambda h: h["config"]["visual"]["options"].update(x=1), ModelError, "'x'", id="encoder-option"),
        pytest.param(
            lambda h: h["config"]["llm"].update(num_attention_heads="two"), ModelError, "whole number", id="llm-word"
        ),
        pytest.param(lambda h: h["config"]["llm"].update(num_attention_heads=5), ModelError, "hidden", id="llm-heads"),
        pytest.param(lambda h: h["config"]["llm"].update(num_layer=1), ModelError, "unknown key", id="llm-unknown-key"),
        pytest.param(lambda h: h["config"]["llm"].update(num_hidden_layers=10**7), ModelError, "512", id="llm-absurd"),
    ],
)
def test_headers_that_do_not_fit_are_refused(tiny_folder, tmp_path, change, error, told):
    with pytest.raises(error, match=told):
        FAMILY.load(damaged(tiny_folder, tmp_path, change), Precision())


def test_a_missing_tokenizer_is_told(tmp_path):
    with pytest.raises(ModelError, match="tokenizer"):
        Chat.read(tmp_path, "")


def test_a_foreign_tokenizer_is_told(tmp_path):
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), eos_token="</s>").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="lacks"):
        Chat.read(tmp_path, "")
