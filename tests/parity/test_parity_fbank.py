"""The filter bank against torchaudio's kaldi.fbank with the published normalisation: fbank.safetensors."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from crab_core.nn.filterbank import filter_bank, frames_of

DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize(
    ("wave", "expected", "dtype", "tolerance"),
    [
        # the float32 goldens are themselves 1.2e-5 from the float64 one: which way they round depends on the processor
        pytest.param("wav", "fbank", torch.float32, 2e-5, id="1s"),
        pytest.param("wav2s", "fbank2s", torch.float32, 2e-5, id="2s"),
        pytest.param("wav", "fbank64", torch.float64, 1e-5, id="1s-float64"),
    ],
)
def test_filter_bank_equals_the_reference(wave, expected, dtype, tolerance, record_property):
    case = load_file(DATA / "fbank.safetensors")
    ours = filter_bank(case[wave].to(dtype))[0]
    error = (ours.float() - case[expected]).abs()
    record_property("max_error", error.max().item())
    assert len(ours) == frames_of(case[wave].shape[1])
    assert error.max() <= tolerance
    assert error.mean() <= 1e-6


def test_segments_do_not_touch_each_other():
    sound = torch.randn(3, 16_000, generator=torch.Generator().manual_seed(0)) * 0.1
    assert torch.allclose(filter_bank(sound)[1], filter_bank(sound[1:2])[0], atol=1e-5)


def test_silence_is_finite():
    assert torch.isfinite(filter_bank(torch.zeros(1, 16_000))).all()


@pytest.mark.parametrize("shape", [(16_000,), (1, 399), (1, 1, 16_000)])
def test_too_short_or_misshapen_sound_is_refused(shape):
    with pytest.raises(ValueError, match="at least 400"):
        filter_bank(torch.zeros(shape))
