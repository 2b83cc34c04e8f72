"""Looking into a tiny random network: the answer stays, shares sum to 1, masks are lifted."""

import numpy as np
import pytest
import torch
from test_families_crab import GREEDY, PROMPT, make_clip

from crab_core.errors import ModelError, UsageError
from crab_core.families._base import HeadsNetwork, Precision
from crab_core.families.crab import FAMILY
from crab_core.families.crab_heads import CrabHeads


@pytest.fixture(scope="module")
def network(tiny_folder):
    return FAMILY.load(tiny_folder, Precision())


@pytest.fixture(scope="module")
def inside(network):
    assert isinstance(network, HeadsNetwork)
    return network.inside()


@pytest.fixture(scope="module")
def clip(network):
    return make_clip(network, 3.0)


@pytest.fixture(scope="module")
def encoded(network, clip):
    return network.encode(clip, "avqa")


def test_watching_changes_nothing_and_shares_sum_to_one(network, inside, encoded):
    plain = network.generate(encoded, PROMPT, GREEDY)
    watched, routes = inside.routes(encoded, PROMPT, GREEDY, raw=True)
    assert watched == plain
    layers, projections = 2, 7
    read = plain.prompt_tokens + len(plain.token_ids) - (plain.stopped == "length")
    assert routes.weights.shape == (layers * projections, read, 3)
    np.testing.assert_allclose(routes.weights.sum(-1), 1, atol=1e-6)
    assert routes.routers[0].startswith("model.layers.0.")
    assert routes.weights.std(axis=(0, 1)).min() > 0  # tokens are routed differently


def test_kinds_are_those_of_the_prompt_and_what_is_written(inside, encoded):
    spans = inside.spans(encoded, PROMPT)
    kinds = [span.kind for span in spans for _ in range(span.start, span.end)]
    generated, routes = inside.routes(encoded, PROMPT, GREEDY, kinds, raw=True)
    assert spans == generated.spans
    assert routes.kinds == ("text", "video", "audio", "written")
    assert routes.counts.sum() == len(routes.shares) and routes.counts[-1] > 0
    every = np.array([*kinds, *["written"] * routes.counts[-1]])
    for at, kind in enumerate(routes.kinds):
        np.testing.assert_allclose(routes.by_kind[:, at], routes.weights[:, every == kind].mean(1), atol=1e-5)
    np.testing.assert_allclose(routes.mean(routes.by_kind), routes.weights.mean(1), atol=1e-5)


def test_only_raw_keeps_every_router_at_every_position(inside, encoded):
    _, routes = inside.routes(encoded, PROMPT, GREEDY)
    assert routes.weights is None
    kept = sum(value.size for value in vars(routes).values() if isinstance(value, np.ndarray))
    read, routers, heads, kinds = len(routes.shares), len(routes.routers), 3, 1
    assert kept == read * heads + routers * kinds * (heads + 1) + kinds


def test_fresh_routers_hear_the_same_and_depend_on_their_seed(inside, encoded):
    generated, routes = inside.routes(encoded, PROMPT, GREEDY, ["text"])
    fresh = [inside.fresh_routes(encoded, PROMPT, generated.token_ids, ["text"], seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(fresh[0].by_kind, fresh[1].by_kind)
    assert not np.allclose(fresh[0].by_kind, fresh[2].by_kind)
    assert (fresh[0].routers, fresh[0].kinds) == (routes.routers, routes.kinds)
    np.testing.assert_array_equal(fresh[0].counts, routes.counts)
    np.testing.assert_array_equal(inside.routes(encoded, PROMPT, GREEDY, ["text"])[1].by_kind, routes.by_kind)


def test_queries_look_with_all_their_attention(inside, clip):
    found = inside.gaze(clip, "avqa")
    assert found["video"].shape == (3, 3, 2, 2)  # frames, queries, rows, columns
    assert found["audio"].shape[:3] == (3, 2, 1)  # seconds, queries, one band
    for maps in found.values():
        np.testing.assert_allclose(maps.sum((-1, -2)), 1, atol=1e-5)


@pytest.mark.parametrize("method", ["attention", "gradient"])
def test_relevance_is_of_the_positions_before_the_target(network, inside, encoded, method):
    written = network.generate(encoded, PROMPT, GREEDY)
    target = 2
    found = inside.relevance(encoded, PROMPT, written.token_ids, [target], method)
    assert found.shape == (written.prompt_tokens + len(written.token_ids),)
    assert (found >= 0).all()
    media = [place for span in written.spans if span.kind != "text" for place in range(span.start, span.end)]
    assert found[media].min() > 0
    assert (found[written.prompt_tokens + target :] == 0).all()  # a token cannot depend on itself or on later ones
    assert network.generate(encoded, PROMPT, GREEDY) == written  # the usual attention is back


def test_the_gradient_is_that_of_the_log_probability(inside, network, encoded):
    """Scaling one position by 1 + e changes the log-probability by e times gradient x input."""
    ids = network.generate(encoded, PROMPT, GREEDY).token_ids
    found = inside.relevance(encoded, PROMPT, ids, range(len(ids)), "gradient")
    asked = inside.asked(encoded, PROMPT, ids)
    position, step = int(found[:-1].argmax()), 1e-3
    with torch.no_grad():
        changed = []
        for sign in (1, -1):
            moved = asked.embeds.clone()
            moved[0, position] *= 1 + sign * step
            changed.append(float(inside._log_probabilities(asked, moved, ids).sum()))
    assert abs(changed[0] - changed[1]) / (2 * step) == pytest.approx(float(found[position]), rel=0.05)


def test_log_probability_is_highest_for_what_was_written(network, inside, encoded):
    ids = network.generate(encoded, PROMPT, GREEDY).token_ids
    best = inside.log_probability(encoded, PROMPT, ids[:1])
    assert best < 0
    assert best > inside.log_probability(encoded, PROMPT, [(ids[0] + 1) % 417])
    assert inside.log_probability(encoded, PROMPT, ()) == 0


def test_without_any_head_it_is_the_network_without_adapter(network, inside, encoded):
    ids = network.generate(encoded, PROMPT, GREEDY).token_ids
    whole = inside.log_probability(encoded, PROMPT, ids)
    with inside.only(()):
        none = inside.log_probability(encoded, PROMPT, ids)
    with inside.only((0, 1, 2)):
        assert inside.log_probability(encoded, PROMPT, ids) == whole
    layers = [module for module in network.model.llm.modules() if hasattr(module, "ilora_router")]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        bare = inside.log_probability(encoded, PROMPT, ids)
    finally:
        for layer in layers:
            layer.enable_adapters(True)
    assert none == pytest.approx(bare, abs=1e-4)
    assert none != pytest.approx(whole, abs=1e-2)


def test_pieces_make_up_the_text(network, inside, encoded):
    written = network.generate(encoded, PROMPT, GREEDY)
    assert "".join(inside.pieces(written.token_ids)) == written.text
    assert "what sounds first?" in "".join(inside.prompt_pieces(PROMPT))


def test_mistakes_are_told(network, inside, encoded):
    with pytest.raises(UsageError, match="no relevance is called 'magic'"):
        inside.relevance(encoded, PROMPT, [5], [0], "magic")
    from types import SimpleNamespace

    with pytest.raises(ModelError, match="'tiny' has no I-LoRA"):
        CrabHeads.of(SimpleNamespace(name="tiny", ilora=None))
