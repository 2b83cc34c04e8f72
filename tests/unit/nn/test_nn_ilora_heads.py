"""Head masks and routing: who takes part, who routes where, without touching a weight."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora import (
    HeadMask,
    ILoraConfig,
    ILoraLayer,
    all_heads,
    capture,
    drop_heads,
    heads,
    inject,
    keep_head,
    routers,
)

ROUTE = torch.tensor([[0.5, 0.3, 0.2]])


def host(count=3, names=("q_proj", "v_proj")) -> nn.ModuleDict:
    torch.manual_seed(0)
    module = nn.ModuleDict({name: nn.Linear(8, 6) for name in names})
    inject(module, heads=count, rank=2, alpha=4, targets=names)
    for layer in module.values():
        nn.init.normal_(layer.ilora_B["default"].weight)
    return module.eval()


def share(layer: ILoraLayer, x: torch.Tensor, head: int, weight: torch.Tensor) -> torch.Tensor:
    """What one head adds with the given weight (..., 1)."""
    return layer.scaling["default"] * weight * (layer.ilora_A["default"](x) @ layer.head(head).T)


@pytest.mark.parametrize(
    ("kept", "renormalise", "expected"),
    [
        pytest.param({0, 1, 2}, False, [0.5, 0.3, 0.2], id="all"),
        pytest.param({1}, False, [0, 0.3, 0], id="one-at-its-weight"),
        pytest.param({1}, True, [0, 1, 0], id="one-at-full-weight"),
        pytest.param({0, 2}, True, [5 / 7, 0, 2 / 7], id="two-share-the-third"),
        pytest.param(set(), False, [0, 0, 0], id="none"),
    ],
)
def test_mask_of_routing_weights(kept, renormalise, expected):
    torch.testing.assert_close(
        HeadMask(frozenset(kept), renormalise).apply(ROUTE), torch.tensor([expected], dtype=torch.float32)
    )


def test_renormalising_a_head_without_weight_gives_no_nan():
    mask = HeadMask(frozenset({1}), renormalise=True)
    assert torch.equal(mask.apply(torch.tensor([[1.0, 0.0, 0.0]])), torch.zeros(1, 3))


def test_masked_heads_add_up_to_the_whole_update():
    module, x = host(), torch.randn(2, 5, 8)
    layer = module["q_proj"]
    base, whole = layer.base_layer(x), layer(x)
    parts = []
    for head in range(3):
        with heads(module, keep=head):
            parts.append(layer(x) - base)
    torch.testing.assert_close(sum(parts), whole - base, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", [0, 2])
def test_keep_head_and_all_heads(head):
    module, x = host(), torch.randn(2, 5, 8)
    layer, whole = module["v_proj"], module["v_proj"](x)
    route = layer.ilora_router["default"](x)[..., head : head + 1]
    keep_head(module, head)
    torch.testing.assert_close(layer(x), layer.base_layer(x) + share(layer, x, head, route), atol=1e-5, rtol=1e-5)
    keep_head(module, head, renormalise=True)
    alone = layer.base_layer(x) + share(layer, x, head, torch.ones_like(route))
    torch.testing.assert_close(layer(x), alone, atol=1e-5, rtol=1e-5)
    all_heads(module)
    assert torch.equal(layer(x), whole)


def test_dropping_one_is_keeping_the_others():
    module, x = host(), torch.randn(2, 5, 8)
    drop_heads(module, {1}, renormalise=True)
    dropped = module["q_proj"](x)
    with heads(module, keep=[0, 2], renormalise=True):
        assert torch.equal(module["q_proj"](x), dropped)


def test_no_weight_changes_and_the_former_mask_returns():
    module, x = host(), torch.randn(2, 5, 8)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    keep_head(module, 1)
    masked = module["q_proj"](x)
    with pytest.raises(RuntimeError, match="inside"), heads(module, drop=0):
        assert not torch.equal(module["q_proj"](x), masked)
        raise RuntimeError("inside")
    assert torch.equal(module["q_proj"](x), masked)
    assert all(torch.equal(before[key], value) for key, value in module.state_dict().items())


@pytest.mark.parametrize(
    ("call", "named"),
    [
        pytest.param(lambda m: keep_head(m, 3), "'3'", id="keep-too-high"),
        pytest.param(lambda m: keep_head(m, -1), "'-1'", id="keep-negative"),
        pytest.param(lambda m: drop_heads(m, {0, 7}), "'7'", id="drop-too-high"),
        pytest.param(lambda m: drop_heads(m, {0, 1, 2}, renormalise=True), "no head is left", id="none-left"),
        pytest.param(lambda m: heads(m, keep=9).__enter__(), "'9'", id="block-too-high"),
        pytest.param(lambda m: heads(m).__enter__(), "either keep or drop", id="block-without-heads"),
        pytest.param(lambda m: heads(m, keep=0, drop=1).__enter__(), "either keep or drop", id="block-with-both"),
        pytest.param(lambda m: keep_head(nn.Linear(2, 2), 0), "no I-LoRA layer", id="no-adapter"),
        pytest.param(lambda m: routers(nn.Linear(2, 2)), "no active I-LoRA adapter", id="no-router"),
        pytest.param(lambda m: routers(m, "b"), "'b'", id="no-such-router"),
    ],
)
def test_heads_and_routers_that_are_not_there(call, named):
    module, x = host(), torch.randn(1, 2, 8)
    before = module["q_proj"](x)
    with pytest.raises(UsageError, match=named) as caught:
        call(module)
    assert caught.value.hint
    assert torch.equal(module["q_proj"](x), before), "a refused mask must leave no layer masked"


def test_a_head_that_one_layer_lacks_masks_no_layer():
    module = host()
    module["k_proj"] = ILoraLayer(nn.Linear(8, 6), "default", ILoraConfig(heads=2, rank=2))
    with pytest.raises(UsageError, match="'2'"):
        keep_head(module, 2)
    assert not any(layer.head_masks for layer in module.values())


def test_capture_collects_one_tensor_a_call_and_lets_go():
    module, x = host(), torch.randn(2, 5, 8)
    with capture(module) as routes:
        for layer in module.values():
            layer(x)
        module["q_proj"](x[:1])
    module["q_proj"](x)
    assert {name: [tuple(r.shape) for r in seen] for name, seen in routes.items()} == {
        "q_proj": [(2, 5, 3), (1, 5, 3)],
        "v_proj": [(2, 5, 3)],
    }
    seen = routes["q_proj"][0]
    torch.testing.assert_close(seen.sum(-1), torch.ones(2, 5))
    assert not seen.requires_grad
    assert torch.equal(seen, routers(module)["q_proj"](x))


def test_captured_routes_are_those_before_a_mask():
    module, x = host(), torch.randn(2, 5, 8)
    with capture(module) as routes, heads(module, keep=0):
        module["q_proj"](x)
    assert (routes["q_proj"][0] > 0).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.data())
def test_any_heads_and_all_others_make_the_whole(count, data):
    kept = data.draw(st.sets(st.integers(0, count - 1)))
    scale = data.draw(st.floats(0.01, 20))
    module = host(count, names=("q_proj",))
    layer, x = module["q_proj"], scale * torch.randn(4, 8, generator=torch.Generator().manual_seed(count))
    base, whole = layer.base_layer(x), layer(x)
    with heads(module, keep=kept), capture(module) as routes:
        some = layer(x)
    with heads(module, drop=kept):
        others = layer(x)
    torch.testing.assert_close(some - base + others - base, whole - base, atol=1e-4 * scale, rtol=1e-4)
    torch.testing.assert_close(routes["q_proj"][0].sum(-1), torch.ones(4))  # silenced heads keep their share
    routed = layer.ilora_router["default"](x)
    alone = sum(share(layer, x, head, routed[:, head : head + 1]) for head in kept)
    torch.testing.assert_close(some - base, alone + torch.zeros_like(base), atol=1e-4 * scale, rtol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.floats(0.01, 20))
def test_without_all_heads_it_is_the_layer_without_adapter_to_the_bit(count, scale):
    module = host(count, names=("q_proj",))
    layer, x = module["q_proj"], scale * torch.randn(4, 8)
    with heads(module, drop=range(count)):
        silent = layer(x)
    layer.enable_adapters(False)
    assert torch.equal(silent, layer(x))
    assert torch.equal(silent, layer.base_layer(x))
