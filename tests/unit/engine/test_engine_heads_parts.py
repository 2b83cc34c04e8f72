"""Tokens' kinds and the composition of maps, on numbers that can be checked by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crab_core.engine.heads import METHODS, HeadOptions
from crab_core.engine.heads_maps import by_kind, by_place, by_second, head_maps
from crab_core.engine.heads_row import mean_shares
from crab_core.engine.heads_tokens import Token, prompt_tokens, targets, written_tokens
from crab_core.engine.masks import drawn_of, overlap_of
from crab_core.errors import UsageError
from crab_core.families._base import MASK_LOGITS, Generated, Span


def kinds(tokens):
    return [token.kind for token in tokens]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        pytest.param(["a", " dog"], ["answer", "answer"], id="no-tags"),
        pytest.param([], [], id="nothing"),
        pytest.param(
            ["It", " barks", ".", " <", "answer", ">", " dog", " </", "answer", ">", "."],
            ["reasoning"] * 3 + ["format"] * 3 + ["answer"] + ["format"] * 4,
            id="reasoning-and-answer",
        ),
        pytest.param(["<answer>", " yes"], ["format", "answer"], id="left-open"),
        pytest.param(
            ["<event>", "dog", "</event>", " in", " <range>", " 0", ",", "8", " </range>"],
            ["format", "answer", "format", "format", "format", "answer", "answer", "answer", "format"],
            id="event-and-range",
        ),
        pytest.param(["<answer>", " ", "</answer>"], ["format"] * 3, id="empty-answer"),
    ],
)
def test_written_tokens(pieces, expected):
    assert kinds(written_tokens(pieces)) == expected


def test_targets_are_what_is_said_or_else_everything():
    assert targets(written_tokens(["So", " <answer>", " dog", " </answer>"])) == [0, 2]
    assert targets(written_tokens(["<answer>", " ", "</answer>"])) == [0, 1, 2]


def test_prompt_tokens_know_their_place():
    spans = [Span("text", 0, 1), Span("video", 1, 3, 0), Span("video", 3, 5, 1), Span("text", 5, 9)]
    tokens = prompt_tokens(spans, ["<s>", "Answer:", " what", " barks?", "</s>"], "what barks?")
    assert kinds(tokens) == ["wording", *["video"] * 4, "wording", "question", "question", "wording"]
    assert [(token.index, token.query) for token in tokens[1:5]] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert kinds(prompt_tokens([Span("text", 0, 2)], ["a", "b"], None)) == ["wording", "wording"]


def test_shares_by_router_kind_and_second():
    routers = ["model.layers.1.mlp.up_proj", "model.layers.0.mlp.up_proj", "model.layers.0.self_attn.q_proj"]
    weights = np.array([[[1, 0], [0, 1]], [[1, 0], [1, 0]], [[0, 1], [0, 1]]], np.float32)
    layers, projections, table = by_place(routers, weights.mean(1))
    assert (layers, projections) == ([0, 1], ["up_proj", "q_proj"])
    np.testing.assert_allclose(table, [[[1, 0], [0, 1]], [[0.5, 0.5], [np.nan, np.nan]]])

    tokens = [Token("video", "", 0, 0), Token("video", "", 1, 0), Token("answer", "dog"), Token("answer", "cut")]
    shares = np.array([[0.2, 0.8], [0.4, 0.6], [1, 0]], np.float32)  # nobody read the last token
    found = by_kind(tokens, shares)
    assert list(found) == ["video", "answer"]
    np.testing.assert_allclose(found["video"], [0.3, 0.7])
    np.testing.assert_allclose(by_second(tokens, shares, "video"), [[0.2, 0.8], [0.4, 0.6]])


def random_case():
    random = np.random.default_rng(0)
    tokens = [Token("video", "", second, query) for second in range(3) for query in range(4)]
    tokens += [Token("audio", "", second, query) for second in range(2) for query in range(2)] + [Token("answer", "x")]
    shares = random.dirichlet(np.ones(3), len(tokens)).astype(np.float32)
    relevance = random.random(len(tokens)).astype(np.float32)
    gaze = {
        "video": random.dirichlet(np.ones(6), (3, 4)).reshape(3, 4, 2, 3).astype(np.float32),
        "audio": random.dirichlet(np.ones(5), (2, 2)).reshape(2, 2, 1, 5).astype(np.float32),
    }
    return tokens, shares, relevance, gaze


def test_maps_of_all_heads_make_the_map_of_the_model():
    tokens, shares, relevance, gaze = random_case()
    maps = head_maps(tokens, shares, relevance, gaze)
    assert maps["video"].shape == (3, 3, 2, 3)
    assert sum(one.sum() for one in maps.values()) == pytest.approx(1, abs=1e-5)
    scale = relevance[:16].sum()
    whole = np.einsum("sq,sqrc->src", relevance[:12].reshape(3, 4), gaze["video"]) / scale
    np.testing.assert_allclose(maps["video"].sum(0), whole, rtol=1e-4)


def test_a_head_that_takes_no_part_has_an_empty_map():
    tokens, shares, relevance, gaze = random_case()
    shares = np.repeat(np.array([[0.0, 1.0]], np.float32), len(tokens), 0)
    maps = head_maps(tokens, shares, relevance, gaze)
    assert maps["video"][0].sum() == 0
    assert maps["video"][1].sum() > 0


def test_nothing_relevant_gives_empty_maps_and_a_lacking_medium_none():
    tokens, shares, relevance, gaze = random_case()
    maps = head_maps(tokens[:12], shares, relevance * 0, gaze)
    assert list(maps) == ["video"]
    assert not maps["video"].any()


@pytest.mark.parametrize(
    ("whole", "other", "iou"),
    [
        pytest.param([[1, 1], [0, 0]], [[1, 0], [1, 0]], 1 / 3, id="partly"),
        pytest.param([[1, 1], [0, 0]], None, 0.0, id="nothing-drawn-now"),
        pytest.param([[-1, -1]], [[-1, -1]], 1.0, id="both-empty"),
        pytest.param([[-1, -1]], None, 0.0, id="empty-and-none"),
        pytest.param(None, [[1, 1]], None, id="no-mask-to-compare-with"),
    ],
)
def test_masks_of_an_ablation_are_compared_with_the_whole(whole, other, iou):
    def drawn(logits):
        extras = {} if logits is None else {MASK_LOGITS: np.array([logits], np.float32) - 0.5}
        return drawn_of(Generated("", (), extras=extras))

    assert overlap_of(drawn(whole), drawn(other)) == (None if iou is None else pytest.approx(iou))


def test_of_classes_the_background_is_nothing():
    classes = np.zeros((3, 2, 2), np.float32)
    classes[0, 0], classes[2, 1] = 1, 1
    assert drawn_of(Generated("", (), extras={MASK_LOGITS: classes})).tolist() == [[False, False], [True, True]]


def test_an_unknown_method_is_told():
    with pytest.raises(UsageError, match="no method is called 'magic'") as told:
        HeadOptions(method="magic")
    assert all(name in told.value.hint for name in METHODS)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_shares_make_one_however_tokens_are_grouped(data):
    heads = data.draw(st.integers(1, 5))
    kinds_of_text = st.sampled_from(["wording", "question", "answer"])
    found = [Token(kind) for kind in data.draw(st.lists(kinds_of_text, min_size=1))]
    seconds, queries = data.draw(st.tuples(st.integers(1, 4), st.integers(1, 3)))
    found += [Token("audio", "", second, query) for second in range(seconds) for query in range(queries)]
    logits = np.random.default_rng(data.draw(st.integers(0, 99))).normal(size=(2, len(found), heads)) * 3
    weights = (np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)).astype(np.float32)
    shares = weights.mean(0)
    routers = ["model.layers.0.self_attn.q_proj", "model.layers.3.mlp.up_proj"]
    groups = [*by_kind(found, shares).values(), *by_second(found, shares, "audio")]
    groups += [np.array(some) for some in mean_shares(found, shares).values()]
    groups += [by_place(routers, weights.mean(1))[2][place, place] for place in (0, 1)]
    for group in groups:
        assert group.sum() == pytest.approx(1, abs=1e-5)
        assert (group >= 0).all()
    relevance = np.random.default_rng(0).random(len(found)).astype(np.float32)
    gaze = {"audio": np.full((seconds, queries, 2, 3), 1 / 6, np.float32)}
    maps = head_maps(found, shares, relevance, gaze)
    assert maps["audio"].shape == (heads, seconds, 2, 3)
    assert maps["audio"].sum() == pytest.approx(1, abs=1e-4)
