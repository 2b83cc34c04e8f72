"""How routers choose, on shares whose information is known by hand."""

import numpy as np
import pytest

from crab_core.engine.heads_routing import entropy_bits, routing_of
from crab_core.families._base import Routes

ROUTERS = ("model.layers.0.self_attn.q_proj", "model.layers.2.mlp.up_proj")


def routes_of(weights, kinds):
    """What a network gives for weights (R, T, H) at tokens of these kinds."""
    weights, kinds = np.array(weights, np.float32), np.array(kinds)
    names = [*dict.fromkeys(kinds.tolist()), "written"]
    entropy = entropy_bits(weights)
    groups = [kinds == name for name in names]
    blank = np.full((len(weights), weights.shape[-1]), np.nan, np.float32)
    return Routes(
        ROUTERS[: len(weights)],
        weights.mean(0),
        tuple(names),
        np.array([group.sum() for group in groups]),
        np.stack([weights[:, group].mean(1) if group.any() else blank for group in groups], 1),
        np.stack([entropy[:, group].mean(1) if group.any() else blank[:, 0] for group in groups], 1),
    )


def test_entropy_by_hand():
    np.testing.assert_allclose(entropy_bits(np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]])), [1, 0, 0.811278], atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "entropy", "token", "kind"),
    [
        pytest.param([[0.5, 0.5]] * 4, 1, 0, 0, id="knows-nothing"),
        pytest.param([[1, 0]] * 4, 0, 0, 0, id="one-head-for-all"),
        pytest.param([[1, 0], [1, 0], [0, 1], [0, 1]], 0, 1, 1, id="a-head-a-kind"),
        pytest.param([[1, 0], [0, 1], [1, 0], [0, 1]], 0, 1, 0, id="by-token-not-by-kind"),
        pytest.param([[0.75, 0.25]] * 2 + [[0.25, 0.75]] * 2, 0.811278, 0.188722, 0.188722, id="half-decided"),
    ],
)
def test_what_the_choice_depends_on(weights, entropy, token, kind):
    found = routing_of(routes_of([weights], ["video", "video", "question", "question"]))
    assert found.most == 1
    assert [found.entropy[0, 0], found.token[0, 0], found.kind[0, 0]] == pytest.approx([entropy, token, kind], abs=1e-5)


def test_routers_stand_at_their_layer_and_projection():
    found = routing_of(routes_of([[[0.5, 0.5]] * 2, [[1, 0]] * 2], ["video", "video"]))
    np.testing.assert_allclose(found.entropy, [[1, np.nan], [np.nan, 0]])
    assert found.means() == {"entropy": 0.5, "token": 0.0, "kind": 0.0}
    assert found.to_dict()["entropy"] == [[1.0, None], [None, 0.0]]


def test_kinds_count_by_their_tokens():
    weights = [[[1, 0]] * 3 + [[0, 1]]]
    routes = routes_of(weights, ["video"] * 3 + ["question"])
    np.testing.assert_allclose(routes.mean(routes.by_kind), [[0.75, 0.25]])
    np.testing.assert_allclose(routes.mean(routes.entropy_bits), [0])
