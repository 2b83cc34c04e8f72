import subprocess
import sys

import pytest
import torch
from torch import nn

from crab_core.errors import UsageError
from crab_core.weights.quantize import quantize


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(64, 128)
        self.second = nn.Linear(128, 64, bias=False)
        self.lm_head = nn.Linear(64, 32)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


@pytest.fixture(scope="module", autouse=True)
def silent():
    import warnings

    with warnings.catch_warnings():  # the first import of bitsandbytes may warn about compilers that are not used
        warnings.simplefilter("ignore")
        import bitsandbytes  # noqa: F401


@pytest.mark.parametrize(("kind", "tolerance"), [("4bit", 0.2), ("8bit", 0.03)])
@pytest.mark.filterwarnings("ignore:MatMul8bitLt")
def test_quantised_decoder_computes_nearly_the_same(kind, tolerance):
    torch.manual_seed(0)
    decoder = Decoder().eval()
    x = torch.randn(5, 64)
    with torch.inference_mode():
        exact = decoder(x)
        assert quantize(decoder, kind, torch.float32) == 2
        near = decoder(x)
    assert ((near - exact).norm() / exact.norm()).item() < tolerance
    assert not torch.equal(near, exact)
    assert type(decoder.lm_head) is nn.Linear
    stored = decoder.first.weight
    assert stored.dtype in (torch.uint8, torch.int8)
    assert stored.numel() * stored.element_size() <= 64 * 128


def test_unknown_quantisation_is_refused():
    with pytest.raises(UsageError, match="'3bit'"):
        quantize(Decoder(), "3bit", torch.float32)


def test_loading_in_full_precision_leaves_bitsandbytes_alone():
    modules = "crab_core.families.crab, crab_core.nn.ilora, crab_core.weights.quantize"
    code = f"import sys, {modules}; print('bitsandbytes' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
