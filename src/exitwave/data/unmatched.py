"""A scan with more frames than positions, or fewer: it cannot be used until some of them are selected."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.measurement import Measurement
from exitwave.data.patterns import SelectedPatterns
from exitwave.data.scan import Scan


@dataclass(frozen=True, kw_only=True, eq=False)
class UnmatchedScan(Measurement):
    """Frames and positions as a file holds them, not as many of one as of the other; `prepare.select` makes a scan of them."""

    positions_m: Float[Tensor, "position 2"]
    """(y, x) of the probe in the sample frame, metres."""

    @property
    def title(self) -> str:
        return f"{len(self)} frames with {len(self.positions_m)} positions"

    def some(self, kept: Int[Tensor, " kept"]) -> "Measurement":  # pyright: ignore[reportIncompatibleMethodOverride]
        """These frames: a scan, where every one has a position, or there now are as many frames as positions."""
        positions = self.positions_m
        if len(kept) != len(positions):
            if int(kept.max()) >= len(positions):
                return replace(self, patterns=SelectedPatterns(self.patterns, kept), monitor=None)
            positions = positions[kept]
        monitor = None if self.monitor is None else self.monitor[kept]
        return Scan(
            patterns=SelectedPatterns(self.patterns, kept),
            positions_m=positions,
            geometry=self.geometry,
            mask=self.mask,
            background=self.background,
            monitor=monitor,
            provenance=self.provenance,
        )

    def settled(self) -> Measurement:
        """None: frames and positions must be as many. Raises InputError with what to do."""
        frames, positions = len(self), len(self.positions_m)
        raster = self.provenance.get("raster")
        if frames > positions and frames % positions == 0:
            cure = f"{frames // positions} frames at each position are added up by --sum-exposures"
        elif raster is not None and positions > frames:
            cure = "state the rows and columns that were measured with --scan"
        else:
            cure = f"select the frames that have one, such as --prepare select=:{min(frames, positions)}, or repair the file"
        of_raster = f" of a raster of {raster}" if raster else ""
        raise InputError(
            f"{frames} diffraction patterns but {positions} positions{of_raster}; each frame needs exactly one position: {cure}"
        )
