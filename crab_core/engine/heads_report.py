"""What was found about the heads of one answer, as one frozen record that can be written to JSON and npz."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from crab_core.engine.heads_faithful import Faithfulness
from crab_core.engine.heads_maps import by_place
from crab_core.engine.heads_routing import Routing
from crab_core.engine.heads_tokens import Token
from crab_core.types import Event, Result

if TYPE_CHECKING:
    import numpy.typing as npt

    from crab_core.families._base import HeadsView

    Floats = npt.NDArray[np.float32]

SCHEMA = "crab.heads/1"


@dataclass(frozen=True, slots=True)
class Ablation:
    """The answer with some heads only, or with other shares: `heads` take part, the others are silent.

    `log_probability` is that of the whole model's own text, so that ablations compare. `mask_iou` is how far what is
    drawn is what the whole model draws, 0 if nothing is drawn now; None if the whole model draws nothing. `events` are
    those of this text, in seconds. `is_asked` says that somebody named these heads.
    """

    name: str
    heads: tuple[int, ...]
    answer: str
    raw_text: str
    log_probability: float
    mask_iou: float | None = None
    events: tuple[Event, ...] = ()
    is_asked: bool = False


@dataclass(frozen=True)
class Alike:
    """How alike the update matrices of the heads are, by layer and projection: a fact about the model, not the answer.

    `pairs` counts heads from 0. `cosine` and `cka` (layers, projections, P) are the cosine and linear CKA, `angles_deg`
    (layers, projections, P, r) the principal angles; see `nn/ilora/similarity.py`. The `chance` ones are those of two
    random matrices of the same shape, without the axis of pairs (a cosine's is 0). NaN where there is no adapter, or
    where a head's matrix is zero.
    """

    pairs: tuple[tuple[int, int], ...]
    cosine: Floats
    cka: Floats
    angles_deg: Floats
    chance_cka: Floats
    chance_angles_deg: Floats

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, of the angles the mean."""
        return {
            "pairs": [list(pair) for pair in self.pairs],
            "cosine": _rounded(self.cosine),
            "cka": _rounded(self.cka),
            "angle_deg": _rounded(self.angles_deg.mean(-1), 2),
            "chance_cka": _rounded(self.chance_cka),
            "chance_angle_deg": _rounded(self.chance_angles_deg.mean(-1), 2),
        }


def alike_of(inside: HeadsView) -> Alike:
    """How alike the heads of a network are; raises nothing, one head has no pairs."""
    found = inside.alike()

    def placed(values: Floats) -> Floats:
        return by_place(found.routers, values)[2]

    measured = placed(found.cosine), placed(found.cka), placed(found.angles_deg)
    return Alike(found.pairs, *measured, placed(found.chance_cka), placed(found.chance_angles_deg))


@dataclass(frozen=True)
class HeadReport:
    """How the heads shared the work of one answer.

    `shares` (T, H) is each position's mean over all routers; a row sums to 1. `by_router` is (layers, projections, H),
    `by_kind` maps a kind of token to (H,), `by_second` a medium to (S, H), `maps` a medium to (H, S, rows, columns):
    see `engine/heads_maps.py` for what they mean. `relevance` is (T,), sum 1. `frames` (S, h, w, 3) uint8 and
    `waveform` (samples,) are what the maps lie on. `raw` (R, T, H) is None unless it was asked for, `alike` if there is
    only one head, `routing` (how decided the routers are, see `engine/heads_routing.py`) only in hand-made reports.
    """

    result: Result
    heads: int
    method: str
    tokens: tuple[Token, ...]
    shares: Floats
    layers: tuple[int, ...]
    projections: tuple[str, ...]
    by_router: Floats
    by_kind: Mapping[str, Floats]
    by_second: Mapping[str, Floats]
    relevance: Floats
    maps: Mapping[str, Floats]
    frame_times_s: Floats
    frames: npt.NDArray[np.uint8]
    sound_windows_s: tuple[tuple[float, float], ...]
    waveform: Floats
    ablations: tuple[Ablation, ...] = ()
    checks: tuple[Faithfulness, ...] = ()
    notes: tuple[str, ...] = ()
    routers: tuple[str, ...] = ()
    raw: Floats | None = None
    alike: Alike | None = None
    routing: Routing | None = None
    extras: Mapping[str, float] = field(default_factory=dict)

    @property
    def mass(self) -> dict[str, list[float]]:
        """The part of the evidence that each medium gave through each head; everything together is 1."""
        return {medium: [float(v) for v in maps.sum((1, 2, 3))] for medium, maps in self.maps.items()}

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, without the large arrays: those are in `arrays`."""
        return {
            "schema": SCHEMA,
            "result": self.result.to_dict(),
            "heads": self.heads,
            "method": self.method,
            "mass": {medium: _rounded(values) for medium, values in self.mass.items()},
            "by_kind": {kind: _rounded(values) for kind, values in self.by_kind.items()},
            "by_second": {medium: _rounded(values) for medium, values in self.by_second.items()},
            "layers": list(self.layers),
            "projections": list(self.projections),
            "by_router": _rounded(self.by_router),
            "tokens": [asdict(token) for token in self.tokens],
            "shares": _rounded(self.shares),
            "relevance": _rounded(self.relevance, 8),
            "frame_times_s": _rounded(self.frame_times_s),
            "sound_windows_s": [list(window) for window in self.sound_windows_s],
            "alike": None if self.alike is None else self.alike.to_dict(),
            "routing": None if self.routing is None else self.routing.to_dict(),
            "ablations": [asdict(one) for one in self.ablations],
            "checks": [{**asdict(one), "gain": one.gain} for one in self.checks],
            "timings_s": _rounded_values(self.extras),
            "notes": list(self.notes),
        }

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name, as they stand in an npz file: maps, frames, waveform, shares, alikeness, raw."""
        found: dict[str, npt.NDArray[Any]] = {f"map_{medium}": maps for medium, maps in self.maps.items()}
        found |= {"shares": self.shares, "relevance": self.relevance, "by_router": self.by_router}
        found |= {"frames": self.frames, "waveform": self.waveform}
        if self.alike is not None:
            found |= {"alike_cka": self.alike.cka, "alike_angles_deg": self.alike.angles_deg}
        return found if self.raw is None else {**found, "raw": self.raw, "routers": np.array(self.routers)}


def _rounded(values: Any, digits: int = 5) -> Any:
    """Nested lists of short numbers; None where there is none."""
    if isinstance(values, np.ndarray | list | tuple):
        return [_rounded(value, digits) for value in values]
    return None if np.isnan(values) else round(float(values), digits)


def _rounded_values(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}
