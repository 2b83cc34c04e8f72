"""The layer: its formula, shapes, dtypes, dropout and refusals."""

import copy
import pickle

import pytest
import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora import ILoraConfig, ILoraLayer, capture, inject


def made(heads=3, rank=4, *, dtype=torch.float32, size=(16, 24), **config) -> ILoraLayer:
    """A layer whose B is not zero, so that every head has its say."""
    torch.manual_seed(0)
    settings = ILoraConfig(heads=heads, rank=rank, alpha=2 * rank, init_weights=False, **config)
    return ILoraLayer(nn.Linear(*size).to(dtype), "default", settings)


def by_heads(layer: ILoraLayer, x: torch.Tensor, adapter: str = "default") -> torch.Tensor:
    """The formula, head by head."""
    route = (x @ layer.ilora_router[adapter].weight.T).softmax(-1)
    low = x @ layer.ilora_A[adapter].weight.T
    update = sum(route[..., h : h + 1] * (low @ layer.head(h, adapter).T) for h in range(layer.heads[adapter]))
    return layer.base_layer(x) + layer.scaling[adapter] * update


@pytest.mark.parametrize("heads", [1, 2, 5])
@pytest.mark.parametrize("rank", [1, 8])
@pytest.mark.parametrize("leading", [(7,), (2, 7), (2, 3, 7)], ids=["2-d", "3-d", "4-d"])
def test_stacked_heads_equal_the_formula(heads, rank, leading):
    layer = made(heads, rank).eval()
    x = torch.randn(*leading, 16)
    torch.testing.assert_close(layer(x), by_heads(layer, x), atol=1e-5, rtol=1e-5)


def test_gradients_equal_those_of_the_formula():
    layer = made()
    x = torch.randn(2, 5, 16, requires_grad=True)
    wanted = torch.autograd.grad(by_heads(layer, x).square().sum(), [x, *layer.parameters()])
    found = torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-4)


def test_fresh_adapter_is_the_identity_and_heads_can_part():
    base = nn.Linear(16, 24)
    layer = ILoraLayer(base, "default", ILoraConfig(heads=3, rank=4))
    x = torch.randn(2, 5, 16)
    assert torch.equal(layer(x), base(x))
    layer(x).square().sum().backward()
    gradients = layer.ilora_B["default"].weight.grad.split(4, dim=1)
    assert not torch.allclose(gradients[0], gradients[1]), "a router of zeros would keep the heads alike for ever"


@pytest.mark.parametrize(
    ("base", "adapter", "result"),
    [
        pytest.param(torch.bfloat16, torch.float32, torch.bfloat16, id="float32-beside-bfloat16"),
        pytest.param(torch.float32, torch.bfloat16, torch.float32, id="bfloat16-beside-float32"),
        pytest.param(torch.bfloat16, torch.bfloat16, torch.bfloat16, id="both-bfloat16"),
    ],
)
def test_dtypes_may_differ(base, adapter, result):
    exact = made().eval()
    layer = copy.deepcopy(exact)
    layer.base_layer.to(base)
    for part in (layer.ilora_A, layer.ilora_B, layer.ilora_router):
        part.to(adapter)
    x = torch.randn(2, 5, 16)
    y = layer(x.to(base))
    assert y.dtype == result
    assert (y.float() - exact(x)).abs().max() <= 2e-2 * exact(x).abs().max()


def test_autocast_runs_and_is_near():
    layer = made().eval()
    x = torch.randn(2, 5, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert (y.float() - layer(x)).abs().max() <= 2e-2 * layer(x).abs().max()


def test_autocast_reads_a_low_precision_as_it_is():
    layer = made(dropout=0.5).train()
    seen = []
    layer.ilora_router["default"].register_forward_pre_hook(lambda module, given: seen.append(given[0].dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(torch.randn(2, 5, 16, dtype=torch.bfloat16))
    y.float().sum().backward()
    assert seen == [torch.bfloat16]
    assert layer.ilora_A["default"].weight.grad.dtype == torch.float32


def test_router_sees_the_input_before_dropout():
    layer = made(dropout=0.9).train()
    x = torch.randn(2, 5, 16)
    with capture(nn.ModuleDict({"q_proj": layer})) as routes:
        layer(x)
        layer.eval()(x)
    assert torch.equal(*routes["q_proj"])


@pytest.mark.parametrize(("per_head", "ranks"), [(False, 1), (True, 3)], ids=["one-mask-for-all", "one-mask-a-head"])
def test_dropout_masks(per_head, ranks):
    """With equal heads the update of one mask is one A drop(x); masks of their own give each head another one."""
    layer = made(dropout=0.5, per_head_dropout=per_head).train()
    low = layer._dropped(layer.ilora_A["default"], torch.randn(1, 64, 16), "default").detach()  # (1, 64, 1 or 3, 4)
    assert low.shape[-2] == ranks
    assert len({tuple(head.flatten().tolist()) for head in low.unbind(-2)}) == ranks


def test_dropout_keeps_the_mean():
    layer = made(dropout=0.25, per_head_dropout=True).train()
    x = torch.randn(1, 1, 16).expand(1, 20_000, 16)
    mean = layer(x).mean(1)
    torch.testing.assert_close(mean, layer.eval()(x[:, :1])[:, 0], atol=0.05, rtol=0.05)


def test_dropout_is_off_in_evaluation():
    layer = made(dropout=0.5, per_head_dropout=True).eval()
    x = torch.randn(2, 5, 16)
    assert torch.equal(layer(x), layer(x))


def test_one_head_can_be_looked_at():
    layer = made(heads=3, rank=4)
    assert layer.head(2).shape == (24, 4)
    assert torch.equal(torch.cat([layer.head(h) for h in range(3)], 1), layer.ilora_B["default"].weight)


@pytest.mark.parametrize(
    ("index", "adapter", "named"), [(3, "default", "'3'"), (-1, "default", "'-1'"), (0, "b", "'b'")]
)
def test_unknown_head_or_adapter_is_refused(index, adapter, named):
    with pytest.raises(UsageError, match=named) as caught:
        made().head(index, adapter)
    assert caught.value.hint


def test_merging_is_refused_with_the_reason():
    layer = made()
    with pytest.raises(UsageError, match="depends on the input"):
        layer.merge()
    layer.unmerge()
    assert not layer.merged


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rank": 0}, "rank '0'"),
        ({"heads": 0}, "heads '0'"),
        ({"dropout": 1.0}, "'1.0'"),
        ({"dropout": -0.1}, "'-0.1'"),
    ],
    ids=["rank", "heads", "dropout-1", "dropout-negative"],
)
def test_impossible_sizes_are_refused(settings, named):
    with pytest.raises(UsageError, match=named):
        ILoraConfig(**settings)


@pytest.mark.parametrize(
    ("host", "targets", "named"),
    [
        (lambda: nn.ModuleDict({"other": nn.Linear(4, 4)}), ["q_proj"], "'q_proj'"),
        (lambda: nn.ModuleDict({"q_proj": nn.Conv1d(4, 4, 1)}), ["q_proj"], "Conv1d"),
    ],
    ids=["no-such-layer", "not-linear"],
)
def test_inject_refuses_what_it_cannot_adapt(host, targets, named):
    with pytest.raises(UsageError, match=named):
        inject(host(), heads=3, rank=4, alpha=8, targets=targets)


def test_inject_twice_is_refused():
    host = nn.ModuleDict({"q_proj": nn.Linear(4, 4)})
    inject(host, heads=3, rank=4, alpha=8)
    with pytest.raises(UsageError, match="already"):
        inject(host, heads=3, rank=4, alpha=8)


def test_only_the_adapter_trains_and_dtype_follows_the_base():
    host = nn.ModuleDict({"q_proj": nn.Linear(4, 4), "lm_head": nn.Linear(4, 4)}).to(torch.bfloat16)
    inject(host, heads=3, rank=2, alpha=8)
    trained = {name: p.dtype for name, p in host.named_parameters() if p.requires_grad}
    assert trained == {f"q_proj.ilora_{part}.default.weight": torch.bfloat16 for part in ("A", "B", "router")}


@pytest.mark.parametrize("tokens", [1, 5])
def test_the_quick_way_gives_what_the_slow_one_does_and_sees_every_change(tokens: int) -> None:
    config = ILoraConfig(heads=3, rank=4, alpha=8, init_weights=False)
    layer = ILoraLayer(nn.Linear(12, 20), "default", config).eval()
    x = torch.randn(2, tokens, 12)

    def both() -> tuple[torch.Tensor, torch.Tensor]:
        slow = layer.base_layer(x) + layer.scaling["default"] * layer.mixture(x, "default")
        with torch.no_grad():
            return layer(x), slow.detach()

    torch.testing.assert_close(*both())
    down, router = layer.ilora_A["default"], layer.ilora_router["default"]
    assert down.weight.untyped_storage().data_ptr() == router.weight.untyped_storage().data_ptr()  # held once
    changes = [
        lambda: down.weight.data.mul_(3),
        lambda: router.weight.data.copy_(torch.randn(3, 12)),
        lambda: layer.load_state_dict({k: v + 1 for k, v in layer.state_dict().items()}),
        lambda: layer.load_state_dict({k: v / 2 for k, v in layer.state_dict().items()}, assign=True),
        lambda: layer.double(),
        lambda: layer.float(),
        lambda: setattr(router, "weight", nn.Parameter(torch.randn(3, 12))),
    ]
    before, _ = both()
    for index, change in enumerate(changes):
        change()
        quick, slow = both() if index != 4 else (before, before)
        torch.testing.assert_close(quick, slow, msg=lambda told, index=index: f"change {index}: {told}")
    assert not torch.allclose(before, quick)


def test_the_quick_way_leaves_gradients_of_the_input() -> None:
    config = ILoraConfig(heads=3, rank=4, alpha=8, init_weights=False)
    layer = ILoraLayer(nn.Linear(12, 20), "default", config).eval().requires_grad_(False)
    x = torch.randn(4, 12, requires_grad=True)
    (quick,) = torch.autograd.grad(layer(x).square().sum(), x)
    slow = layer.base_layer(x) + layer.scaling["default"] * layer.mixture(x, "default")
    torch.testing.assert_close(quick, torch.autograd.grad(slow.square().sum(), x)[0])


def test_a_copy_and_a_pickle_of_a_layer_share_nothing_with_it() -> None:
    config = ILoraConfig(heads=3, rank=4, alpha=8, init_weights=False)
    layer = ILoraLayer(nn.Linear(12, 20), "default", config).eval()
    x = torch.randn(2, 12)
    with torch.no_grad():
        expected = layer(x)
        for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            other.ilora_A["default"].weight.zero_()
            torch.testing.assert_close(layer(x), expected)
            torch.testing.assert_close(other(x), layer.base_layer(x))
