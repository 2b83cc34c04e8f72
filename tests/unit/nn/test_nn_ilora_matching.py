"""Heads under one number in every layer: what the model says stays, and a shuffled adapter is put in order again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.nn.ilora import inject
from crab_core.nn.ilora.matching import matched_orders, reorder_heads
from crab_core.nn.ilora.routing import capture, routers


def adapted(heads: int) -> nn.Module:
    torch.manual_seed(heads)
    model = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
    inject(model, heads=heads, rank=2, alpha=4, targets=("0", "2"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ilora_B" in name:
                parameter.normal_()
    return model.eval()


@pytest.mark.parametrize("heads", [1, 2, 3, 8])
def test_another_order_changes_nothing_that_is_said(heads: int) -> None:
    model = adapted(heads)
    x = torch.randn(5, 8)
    with capture(model) as before:
        said = model(x)
    names = list(routers(model))
    orders = {name: torch.randperm(heads).tolist() for name in names}
    reorder_heads(model, orders)
    with capture(model) as after:
        torch.testing.assert_close(model(x), said, atol=1e-5, rtol=1e-5)
    for name in names:
        torch.testing.assert_close(after[name][0], before[name][0][:, orders[name]])


@pytest.mark.parametrize("heads", [2, 3, 5, 9])
def test_shuffled_heads_are_found_again(heads: int) -> None:
    torch.manual_seed(heads)
    common = torch.randn(heads, 7).double()
    noisy = {f"layer {number}": common + 0.05 * torch.randn(heads, 7) for number in range(9)}
    shuffles = {name: torch.randperm(heads) for name in noisy}
    given = {name: one[shuffles[name]] for name, one in noisy.items()}
    orders = matched_orders(given)
    first, *others = [given[name][list(orders[name])] for name in given]
    for other in others:
        torch.testing.assert_close(other, first, atol=0.5, rtol=0)
    assert orders == matched_orders(given)
    in_order = {name: one[list(orders[name])] for name, one in given.items()}
    assert all(order == tuple(range(heads)) for order in matched_orders(in_order).values())


def test_what_all_heads_share_does_not_decide() -> None:
    torch.manual_seed(0)
    common = torch.randn(3, 4).double()
    plain = {str(number): common[torch.randperm(3)] for number in range(6)}
    shifted = {name: one + 10 * torch.randn(1, 4) + 10 * torch.randn(3, 1) for name, one in plain.items()}
    placed = [plain[name][list(order)] for name, order in matched_orders(shifted).items()]
    for other in placed:
        torch.testing.assert_close(other, placed[0])


def test_wrong_orders_are_told() -> None:
    model = adapted(3)
    name = next(iter(routers(model)))
    with pytest.raises(UsageError, match="no I-LoRA layer 'nowhere'"):
        reorder_heads(model, {"nowhere": (0, 1, 2)})
    with pytest.raises(UsageError, match="order of the 3 heads"):
        reorder_heads(model, {name: (0, 1, 1)})
    with pytest.raises(ValueError, match="one size"):
        matched_orders({"a": torch.zeros(3, 2), "b": torch.zeros(2, 2)})
