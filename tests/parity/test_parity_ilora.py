"""I-LoRA against the published layer: tests/parity/data/ilora_h{heads}_r{rank}.safetensors, made by the published code.

`w.*` are trained-like weights that bfloat16 holds exactly, `init.*` what the published layer starts with.
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from crab_core.nn.ilora import adapter_state, capture, from_published, inject, load_adapter_state, shape_of

DATA = Path(__file__).parent / "data"
ALPHA = {4: 16, 8: 16, 128: 256}  # by rank, as the golden files were made
CASES = [(1, 8), (3, 8), (3, 128), (5, 4)]
IDS = [f"{heads}-heads-rank-{rank}" for heads, rank in CASES]


def golden(heads: int, rank: int) -> dict[str, torch.Tensor]:
    return load_file(DATA / f"ilora_h{heads}_r{rank}.safetensors")


def build(case: dict[str, torch.Tensor], dtype: torch.dtype = torch.float32) -> nn.Module:
    """The layer of the golden file as `q_proj` of a module, its adapter read from the published keys."""
    mine = {key.removeprefix("w."): value for key, value in case.items() if key.startswith("w.")}
    adapter = {f"base_model.model.q_proj.{key}": mine[key] for key in mine if key.startswith("lora_")}
    out_features, in_features = mine["weight"].shape
    host = nn.ModuleDict({"q_proj": nn.Linear(in_features, out_features, bias="bias" in mine)})
    host["q_proj"].load_state_dict({key: mine[key] for key in ("weight", "bias") if key in mine})
    heads, rank = shape_of(adapter)
    inject(host.to(dtype), heads=heads, rank=rank, alpha=ALPHA[rank], dropout=0.1)
    load_adapter_state(host, adapter)
    return host.eval()


@torch.inference_mode()
def run(host: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with capture(host) as routes:
        y = host["q_proj"](x)
    return y, routes["q_proj"][0]


@pytest.mark.parametrize(("heads", "rank"), CASES, ids=IDS)
def test_float32_output_and_routes(heads, rank, record_property):
    """1e-5 for outputs up to 10; at rank 128 they reach 30, and the published result itself is 9e-6 off float64."""
    case = golden(heads, rank)
    y, route = run(build(case), case["x"])
    error = (y - case["y_fp32"]).abs().max().item()
    route_error = (route - case["route_fp32"]).abs().max().item()
    record_property("max_error", {"y": error, "route": route_error})
    assert error <= 1e-6 * max(10, case["y_fp32"].abs().max().item())
    assert route_error <= 1e-6


@pytest.mark.parametrize(("heads", "rank"), CASES, ids=IDS)
def test_bfloat16_output_and_routes(heads, rank, record_property):
    """Errors are told against the largest output: between 8 and 16 one step of bfloat16 is 0.06.

    The published loop rounds once a head and once more after scaling, the stacked product once: it must not be
    farther from the float32 result than the published bfloat16 result is.
    """
    case = golden(heads, rank)
    y, route = run(build(case, torch.bfloat16), case["x"].bfloat16())
    assert y.dtype == route.dtype == torch.bfloat16
    error = (y.float() - case["y_bf16"]).abs().max() / case["y_bf16"].abs().max()
    route_error = (route.float() - case["route_bf16"]).abs().max()
    record_property("max_error", {"y": error.item(), "route": route_error.item()})
    assert max(error, route_error) <= 2e-2
    assert (y - case["y_fp32"]).abs().max() <= (case["y_bf16"] - case["y_fp32"]).abs().max()


@pytest.mark.parametrize(("heads", "rank"), CASES, ids=IDS)
def test_fresh_adapter_starts_like_the_published_one(heads, rank):
    """B is zero in both; A and the router fill the same range, whose bound is 1 / sqrt(in)."""
    published = {k.removeprefix("init."): v for k, v in golden(heads, rank).items() if k.startswith("init.lora_")}
    theirs = from_published({f"q_proj.{key}": tensor for key, tensor in published.items()})
    out_features, in_features = theirs["q_proj.ilora_B.weight"].shape[0], theirs["q_proj.ilora_A.weight"].shape[1]
    host = nn.ModuleDict({"q_proj": nn.Linear(in_features, out_features)})
    inject(host, heads=heads, rank=rank, alpha=16)
    ours = adapter_state(host)
    assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in theirs.items()}
    for key, tensor in ours.items():
        bound = 0.0 if "ilora_B" in key else in_features**-0.5
        for start in (tensor, theirs[key]):
            assert 0.7 * bound <= start.abs().max() <= bound


def test_the_golden_adapters_matter():
    """Without the adapter the goldens are missed by far, so that a silent identity could not pass."""
    case = golden(3, 8)
    base = torch.nn.functional.linear(case["x"], case["w.weight"])
    assert (base - case["y_fp32"]).abs().max() > 0.1
