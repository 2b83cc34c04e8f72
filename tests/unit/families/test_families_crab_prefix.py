"""A second question about a clip: what is not computed again, and that nobody can tell from its answer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_family import write_clip
from test_families_crab import GREEDY, PROMPT, make_clip

from crab_core.engine.session import load
from crab_core.families._base import Precision
from crab_core.families.crab import FAMILY
from crab_core.families.crab_network import CrabNetwork
from crab_core.nn import ilora
from crab_core.stats import collecting
from crab_core.tasks.wording import of_video
from crab_core.types import Decoding, Part, Prompt, Request

OTHERS = [of_video("what?"), of_video("Please describe this video."), PROMPT]


@pytest.fixture(scope="module")
def network(tiny_folder) -> CrabNetwork:
    return FAMILY.load(tiny_folder, Precision())


@pytest.fixture
def positions(network):
    """How many positions each pass of the LLM computes, in order."""
    seen: list[int] = []
    hook = network.model.llm.model.norm.register_forward_hook(lambda _m, _given, out: seen.append(out.shape[1]))
    yield seen
    hook.remove()


@pytest.mark.parametrize(
    "decoding", [GREEDY, Decoding(max_new_tokens=6, temperature=1.5, seed=3)], ids=["greedy", "sampled"]
)
def test_every_answer_is_that_of_a_fresh_run_whatever_was_asked_before(network, decoding):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    for prompt in [*OTHERS, *reversed(OTHERS)]:
        assert network.generate_with(memory, encoded, prompt, decoding) == network.generate(encoded, prompt, decoding)
    assert memory.reused > 0
    assert len({network.generate(encoded, prompt, decoding).text for prompt in OTHERS}) == 3


def test_the_state_that_chooses_the_first_token_is_the_same_to_the_last_bit(network):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    network.generate_with(memory, encoded, OTHERS[0], GREEDY)
    states: list[torch.Tensor] = []
    hook = network.model.llm.lm_head.register_forward_hook(lambda _m, given, _out: states.append(given[0][:, -1]))
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    again = len(states)
    network.generate(encoded, PROMPT, GREEDY)
    hook.remove()
    assert memory.reused and len(states) == 2 * again
    assert all(torch.equal(one, two) for one, two in zip(states[:again], states[again:], strict=True))


def test_a_second_question_computes_only_what_follows_the_media(network, positions):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    first = network.generate_with(memory, encoded, OTHERS[0], GREEDY)
    media = max(span.end for span in first.spans if span.kind != "text")
    assert positions[:2] == [media, first.prompt_tokens - media] and memory.reused == 0
    positions.clear()
    second = network.generate_with(memory, encoded, PROMPT, GREEDY)
    assert positions[0] == second.prompt_tokens - media and memory.reused == media
    assert len(positions) == len(second.token_ids) + (second.stopped == "eos")


def other_length(network, encoded):
    return network.encode(make_clip(network, 3.0), "avqa"), PROMPT


def no_sound(network, encoded):
    features = {kind: tokens for kind, tokens in encoded.features.items() if kind != "audio"}
    return replace(encoded, features=features), PROMPT


def other_words_before_the_media(network, encoded):
    return encoded, Prompt((Part("text", "Look: "), *PROMPT.parts))


@pytest.mark.parametrize("change", [other_length, no_sound, other_words_before_the_media])
def test_what_differs_up_to_the_media_is_computed_anew(network, change):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    changed, prompt = change(network, encoded)
    assert network.generate_with(memory, changed, prompt, GREEDY) == network.generate(changed, prompt, GREEDY)
    assert memory.reused == 0


def test_one_changed_feature_is_noticed(network):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    video = encoded.features["video"].clone()
    video[-1, -1, -1] += 1e-3
    network.generate_with(memory, replace(encoded, features={**encoded.features, "video": video}), PROMPT, GREEDY)
    assert memory.reused == 0


def test_a_prompt_without_media_has_nothing_to_keep(network):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    text = Prompt((Part("text", "who are you?"),))
    memory = network.memory()
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    assert network.generate_with(memory, encoded, text, GREEDY) == network.generate(encoded, text, GREEDY)
    assert memory.reused == 0


def test_other_heads_and_watched_routers_see_everything(network):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    with ilora.heads(network.model.llm, keep=1):
        masked = network.generate_with(memory, encoded, PROMPT, GREEDY)
        assert masked == network.generate(encoded, PROMPT, GREEDY)
    assert memory.reused == 0
    network.generate_with(memory, encoded, PROMPT, GREEDY)
    assert memory.reused == 0
    with ilora.capture(network.model.llm) as routes:
        full = network.generate_with(memory, encoded, PROMPT, GREEDY)
    read = sum(call.shape[1] for call in next(iter(routes.values())))
    assert read >= full.prompt_tokens


def test_a_step_that_fails_leaves_no_half_memory(network, monkeypatch):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    memory = network.memory()
    network.generate_with(memory, encoded, PROMPT, GREEDY)

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(network.model.llm.lm_head, "forward", full)
        with pytest.raises(torch.OutOfMemoryError):
            network.generate_with(memory, encoded, PROMPT, GREEDY)
    assert network.generate_with(memory, encoded, PROMPT, GREEDY) == network.generate(encoded, PROMPT, GREEDY)
    assert memory.reused == 0


def test_a_clip_that_was_looked_at_once_answers_as_if_it_were_fresh(tiny_folder, tmp_path):
    model = load(tiny_folder, device="cpu")
    path = write_clip(tmp_path / "clip.mp4")
    seen = model.look(path)
    for question in ("what?", "who is first?", "what?"):
        fresh = model.infer(Request(path, question=question), GREEDY)
        again = seen.ask(question, decoding=GREEDY)
        assert (again.raw_text, again.answer) == (fresh.raw_text, fresh.answer)
    assert seen._memory.reused > 0


def test_questions_of_any_length_answered_together_are_those_of_one_by_one(network):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    prompts = [*OTHERS, of_video("what? " * 20)]
    lengths = {len(network.chat.prompt_ids(prompt)) for prompt in prompts}
    alone = [network.generate(encoded, prompt, GREEDY) for prompt in prompts]
    assert len(lengths) == len(prompts)  # so that all rows but one are padded
    assert network.generate_batch([encoded] * len(prompts), prompts, GREEDY) == alone


def test_questions_about_one_clip_that_are_answered_together_read_it_once(network, positions):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    alone = [network.generate(encoded, prompt, GREEDY) for prompt in OTHERS]
    positions.clear()
    assert network.generate_batch([encoded] * 3, OTHERS, GREEDY) == alone
    media = max(span.end for span in alone[0].spans if span.kind != "text")
    assert positions[:2] == [media, max(one.prompt_tokens for one in alone) - media]


def test_questions_about_some_clips_read_each_clip_once(network, positions):
    clips = [network.encode(make_clip(network, seconds), "avqa") for seconds in (4.0, 2.0)]
    asked = [(clips[which], OTHERS[question]) for which, question in ((0, 0), (1, 1), (0, 2), (1, 0), (0, 1))]
    alone = [network.generate(encoded, prompt, GREEDY) for encoded, prompt in asked]
    positions.clear()
    with collecting() as stats:
        together = network.generate_batch(*map(list, zip(*asked, strict=True)), GREEDY)
    assert together == alone
    media = [max(span.end for span in one.spans if span.kind != "text") for one in alone]
    assert positions[0] == media[0] > media[1], "the shorter beginning is padded"
    assert stats.counts["reused_tokens"] == 2 * media[0] + media[1]


@pytest.mark.parametrize("change", [no_sound, other_words_before_the_media])
def test_what_differs_is_not_shared(network, positions, change):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    asked = [(encoded, PROMPT), change(network, encoded), (encoded, OTHERS[0])]
    alone = [network.generate(one, prompt, GREEDY) for one, prompt in asked]
    assert network.generate_batch(*map(list, zip(*asked, strict=True)), GREEDY) == alone


def test_a_prompt_without_media_among_others_is_read_with_them(network, positions):
    encoded = network.encode(make_clip(network, 4.0), "avqa")
    prompts = [PROMPT, Prompt((Part("text", "who are you?"),)), PROMPT]
    alone = [network.generate(encoded, prompt, GREEDY) for prompt in prompts]
    positions.clear()
    assert network.generate_batch([encoded] * 3, prompts, GREEDY) == alone
    assert positions[0] == alone[0].prompt_tokens
