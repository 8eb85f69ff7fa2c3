"""What a run leaves behind: the image, how sure it is, how it got there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor

from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.geometry import Geometry


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """A finished (or interrupted) reconstruction with everything needed to judge and repeat it."""

    estimate: PtychoEstimate
    geometry: Geometry
    spec: Mapping[str, Any]
    """The solver and its options, as `to_spec` gives them; `from_spec` makes the solver again."""
    history: Sequence[float] = ()
    """Squared relative amplitude residual after each epoch."""
    frame_residual: Float[Tensor, " frame"] | None = None
    """The same residual for each frame, at the end."""
    spread: Estimate | None = None
    """Standard deviation of each pixel, where the solver gives one."""
    provenance: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Scan provenance, seed, device, software versions, time taken. JSON-able."""

    @property
    def object_pixel_m(self) -> tuple[float, float]:
        """Pixel size (y, x) of object and probe, metres."""
        height, width = self.estimate.probe.shape[-2:]
        return self.geometry.object_pixel_m((height, width))
