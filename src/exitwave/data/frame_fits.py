"""Measured beside calculated patterns of a few frames of a reconstruction, small enough to go with its result."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameFits:
    """The best, the median and the worst frame: what was measured and what the estimate gives."""

    frames: tuple[int, ...]
    """Their numbers among the frames that were reconstructed, the best first; fewer where there are less than three."""
    measured: Float[Tensor, "shown y x"]
    """Photons per detector pixel, the beam at [h // 2, w // 2]; NaN where the detector cannot be trusted."""
    calculated: Float[Tensor, "shown y x"]
    """The same as the estimate has it, everywhere."""
    binned: int = 1
    """Rows and columns of detector pixels whose mean is one pixel here."""
    planes: bool = False
    """What is shown are the three planes through the middle of one pattern on three axes (across the first, the second and the
    last, padded with NaN to one shape), not frames of many."""

    @property
    def names(self) -> tuple[str, ...]:
        """What each of them is, in words."""
        if self.planes:
            return "detector at the peak", "rocking angle and detector column", "rocking angle and detector row"
        return {1: ("the pattern",), 2: ("best frame", "worst frame")}.get(
            len(self.frames), ("best frame", "median frame", "worst frame")
        )
