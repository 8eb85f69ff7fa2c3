"""What a run leaves behind: the image, how sure it is, how it got there; and the state to go on from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

from jaxtyping import Float
from torch import Tensor

from exitwave.data.estimate import Estimate
from exitwave.data.frame_fits import FrameFits
from exitwave.data.geometry import Geometry
from exitwave.data.lengths import lengths, number
from exitwave.data.showing import Shown
from exitwave.data.verdict import Verdict


@dataclass(frozen=True, kw_only=True, eq=False)
class Result(Shown):
    """A finished (or interrupted) reconstruction with everything needed to judge and repeat it."""

    estimate: Estimate
    geometry: Geometry
    object_pixel_m: tuple[float, ...]
    """Pixel size of the object along each of its axes in the plane, (y, x), metres."""
    spec: Mapping[str, Any]
    """The solver and its options, as `to_spec` gives them; `from_spec` makes the solver again."""
    history: Sequence[float] = ()
    """Squared relative amplitude residual met during each epoch."""
    residual: float = float("nan")
    """The same residual of the final estimate over the whole scan."""
    free_residual: float | None = None
    """The same for the pixels held out from the solver, if any were: it rises where a solver fits noise."""
    frame_residual: Float[Tensor, " frame"] | None = None
    """The same residual for each frame, at the end."""
    frame_fits: FrameFits | None = None
    """Measured beside calculated patterns of the best, the median and the worst frame; None in files of 0.1.0."""
    recorded_positions_px: Float[Tensor, "frame 2"] | None = None
    """Where the scan says that the frames of the estimate are, in its object array; None where none was moved from there."""
    spread: Estimate | None = None
    """Standard deviation of each pixel, where the solver gives one."""
    verdict: Verdict | None = None
    """How far the data say that the image may be believed; None where nobody asked them, as in files of 0.1.0."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Scan provenance, seed, device, software versions, time taken. JSON-able."""

    def told(self) -> tuple[str, ...]:
        free = "" if self.free_residual is None else f", free residual {number(self.free_residual)}"
        epochs = self.provenance.get("epochs", len(self.history))
        size = " × ".join(map(str, self.estimate.object.shape))
        verdict = self.verdict
        reasons = () if verdict is None or verdict.grade == "sound" else verdict.reasons
        reason = f": {shorten(reasons[0], 120, placeholder=' …')}" if reasons else ""
        return (
            f"Result of {self.spec.get('name', 'an unknown solver')} after {epochs} epochs: residual {number(self.residual)}{free}",
            f"object of {size} pixels of {lengths(self.object_pixel_m)}",
            "no verdict" if verdict is None else f"verdict: {verdict.grade}{reason}",
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """The state of a run after some epoch, complete: resumed from it, the run goes on as if it had never stopped."""

    estimate: Estimate
    epoch: int
    """Epochs done."""
    history: Sequence[float]
    """Squared relative amplitude residual met during each of them."""
    state: Mapping[str, Tensor]
    """What the solver holds beyond the estimate: momentum, dual waves, optimiser state."""
    spec: Mapping[str, Any]
    """The solver and its options, as `to_spec` gives them."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """What a resumed run must agree with: fingerprint of the scan, seed. JSON-able."""
