"""Adding up what routers say: equal to the whole of it, and no larger than it has to be."""

import pytest
import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora import EvenShares, ExchangedShares, capture, heads, inject, rerouted, tallied

NAMES = ("q_proj", "v_proj", "o_proj")
GROUPS = [0] * 20 + [1] * 10 + [0] * 3


def host() -> nn.ModuleDict:
    torch.manual_seed(0)
    module = nn.ModuleDict({name: nn.Linear(8, 6) for name in NAMES})
    inject(module, heads=3, rank=2, alpha=4, targets=NAMES)
    for layer in module.values():
        nn.init.normal_(layer.ilora_B["default"].weight)
        nn.init.normal_(layer.ilora_router["default"].weight)
    return module.eval()


def read(module: nn.ModuleDict, *lengths: int) -> None:
    """The layers one after another read some positions at a time, as a decoder does."""
    random = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        for length in lengths:
            x = torch.randn(1, length, 8, generator=random)
            for layer in module.values():
                layer(x)


@pytest.mark.parametrize(
    "lengths",
    [
        pytest.param((33, *[1] * 9), id="prompt-then-tokens"),
        pytest.param((25, 8, *[1] * 9), id="prompt-in-two-parts"),
        pytest.param((5, 12, 25), id="short-then-long"),
        pytest.param((42,), id="at-once"),
    ],
)
def test_sums_are_those_of_everything(lengths):
    module = host()
    with tallied(module, GROUPS, 3) as tally, capture(module) as every:
        read(module, *lengths)
    weights = torch.stack([torch.cat(calls, dim=1)[0] for calls in every.values()])  # (R, T, H)
    assert tally.names == NAMES and tally.positions == 42
    torch.testing.assert_close(tally.shares(), weights.mean(0))
    assert tally.counts().tolist() == [23, 10, 9]
    groups = torch.tensor(GROUPS + [2] * 9)
    entropy = -(weights * weights.log2()).sum(-1)
    for group in range(3):
        torch.testing.assert_close(tally.by_group()[:, group], weights[:, groups == group].mean(1))
        torch.testing.assert_close(tally.entropies_bits()[:, group], entropy[:, groups == group].mean(1))


def test_a_group_without_positions_has_no_mean():
    module = host()
    with tallied(module, [0, 0], 3) as tally:
        read(module, 2)
    assert tally.counts().tolist() == [2, 0, 0]
    assert tally.by_group()[:, 1:].isnan().all() and tally.entropies_bits()[:, 1:].isnan().all()


def kept_numbers(tally) -> int:
    tensors = [value for value in vars(tally).values() if isinstance(value, torch.Tensor)]
    tensors += [weights for _, weights in tally._waiting] + list(tally._positions.values())
    return sum(one.numel() for one in tensors)


def test_what_is_kept_does_not_grow_with_routers_times_positions():
    """At 7B (224 routers, 3 heads, 4 000 positions) everything would be 2.7 million numbers."""
    torch.manual_seed(0)
    layers = [{f"{layer}_{name}": nn.Linear(4, 4) for name in ("q_proj", "v_proj")} for layer in range(112)]
    module = nn.ModuleDict({name: linear for layer in layers for name, linear in layer.items()})
    inject(module, heads=3, rank=1, alpha=1, targets=[name for name in module])
    sizes = {}
    for length in (1000, 4000):
        most = 0
        with torch.inference_mode(), tallied(module, [0] * length, 2) as tally:
            for step in [torch.randn(1, length, 4), *torch.randn(3, 1, 1, 4)]:
                for layer in module.values():
                    layer(step)
                    most = max(most, kept_numbers(tally))
        sizes[length] = most
    fixed = 224 * 2 * (3 + 1) + 224 * 16 * 3
    assert sizes[4000] <= 4000 * (3 + 1) + fixed + 100
    assert sizes[4000] - sizes[1000] == 3000 * (3 + 1)  # a row of heads and a group each, whatever the routers


def test_fresh_routers_listen_and_change_nothing():
    module = host()
    x = torch.randn(1, 6, 8)
    before = module["q_proj"](x)
    with tallied(module, [0] * 6, 1, fresh=5) as tally:
        heard = module["q_proj"](x)
        for name in NAMES[1:]:
            module[name](x)
    torch.testing.assert_close(heard, before)
    with tallied(module, [0] * 6, 1) as own:
        read(module, 6)
    assert not torch.allclose(tally.shares(), own.shares())
    torch.testing.assert_close(tally.shares().sum(-1), torch.ones(6))


def test_even_and_exchanged_shares():
    route = torch.tensor([[0.5, 0.3, 0.2]])
    torch.testing.assert_close(EvenShares().apply(route), torch.full((1, 3), 1 / 3))
    torch.testing.assert_close(ExchangedShares().apply(route), torch.tensor([[0.2, 0.5, 0.3]]))


def test_rerouting_is_lifted_and_gives_back_what_was_there():
    module, x = host(), torch.randn(1, 4, 8)
    layer, whole = module["q_proj"], module["q_proj"](x)
    with rerouted(module, EvenShares()):
        even = layer(x)
    mean = sum(layer.head(head) for head in range(3)) / 3
    expected = layer.base_layer(x) + layer.scaling["default"] * layer.ilora_A["default"](x) @ mean.T
    torch.testing.assert_close(even, expected)
    with heads(module, keep=1):
        alone = layer(x)
        with pytest.raises(RuntimeError), rerouted(module, ExchangedShares()):
            assert not torch.allclose(layer(x), alone)
            raise RuntimeError
        torch.testing.assert_close(layer(x), alone)
    torch.testing.assert_close(layer(x), whole)


def test_a_model_without_adapter_is_refused():
    bare = nn.ModuleDict({"q_proj": nn.Linear(2, 2)})
    with pytest.raises(UsageError, match="no I-LoRA layer"), rerouted(bare, EvenShares()):
        pass
