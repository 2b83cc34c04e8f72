"""Every family by one model of it: the fake one, `mini` by its public name, a tiny random Crab+ with a tiny SAM 2."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_family import FakeFamily, write_clip, write_model
from tiny_plus import write_plus
from tiny_sam2 import write_sam2

from crab_core import registry
from crab_core.engine.session import Model, load
from crab_core.weights.catalog import MODELS

NAMES = ["fake", "mini", "tiny-plus"]


@pytest.fixture(scope="session", params=NAMES)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A loaded model, once for all tests."""
    if request.param == "fake":
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fake_family.FAMILY", FakeFamily())
            patch.setitem(registry.FAMILIES, "fake", registry.Entry("fake_family:FAMILY", "says what it is told", True))
            return load(write_model(tmp_path_factory.mktemp("fake")), device="cpu")
    if request.param == "tiny-plus":
        masks = write_sam2(tmp_path_factory.mktemp("sam2"))
        return load(write_plus(tmp_path_factory.mktemp("plus") / "model"), device="cpu", sam2=masks)
    embedded = MODELS[request.param].embedded
    if embedded is None or not Path(registry.__file__).parent.joinpath(embedded).is_dir():
        pytest.skip(f"the weights of '{request.param}' are not in this checkout")
    return load(request.param, device="cpu")


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Clips by what they hold."""
    folder = tmp_path_factory.mktemp("clips")
    return {
        "both": write_clip(folder / "both.mp4"),
        "mute": write_clip(folder / "mute.mp4", sound=False),
        "sound": write_clip(folder / "sound.mp4", pictures=False),
        "long": write_clip(folder / "long.mp4", seconds=24),
    }
