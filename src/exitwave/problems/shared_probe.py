"""Several scans with one probe put to solvers as one problem, and what was found, scan by scan."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.joined_scans import JoinedScans
from exitwave.data.scan import Scan
from exitwave.problems.outliers import Outliers
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup

SAME_BEAM = 2.0
"""Scans whose frames hold fewer photons than others by less than this factor may owe it to their samples."""
RIM_PX = 4
"""Of the object around the outermost windows that goes with a scan."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SharedProbeProblem(PtychographyProblem):
    """Several scans with one probe. Each scan's region of the object carries how bright the beam was, so that a dim scan
    says as much about the probe as its photons do, and every method goes on as if all were one scan.
    """

    title: ClassVar[str] = "several scans that share their probe"
    measures: ClassVar[type[Scan]] = JoinedScans

    @property
    def joined(self) -> JoinedScans:
        """The scans as one."""
        assert isinstance(self.scan, JoinedScans)
        return self.scan

    @property
    def beams(self) -> Float[Tensor, " scan"]:
        """Amplitude of the beam in each scan over that of the shared probe; 1 where powers differ less than samples do."""
        photons, joined = self.statistics.photons_per_frame.double(), self.joined
        each = [joined.owner == number for number in range(len(joined.sources))]
        means = torch.stack([photons[mine].mean() if bool(mine.any()) else photons.mean() for mine in each])
        if float(means.max() / means.min().clamp(min=1e-30)) < SAME_BEAM:
            return torch.ones(len(means), dtype=torch.float64)
        return (means / photons.mean()).sqrt()

    def initial(
        self, start: Estimate | None, setup: Setup, *, probe: Complex[Tensor, "mode y x"] | None = None
    ) -> PtychoEstimate:
        x = super().initial(start, setup, probe=probe)
        beams = self.beams
        if start is not None or bool((beams == 1).all()):
            return x
        if self.joined.same_object:
            return replace(x, brightness=beams[self.joined.owner].to(x.probe.device))
        obj = x.object.clone()
        for number, beam in enumerate(beams.tolist()):
            rows, columns = region(self._places(x, number), self.scan.frame_shape, self.object_shape)
            obj[0, rows, columns] *= beam
        return replace(x, object=obj)

    def identity(self, x: PtychoEstimate, setup: Setup) -> dict[str, Any]:
        return super().identity(x, setup) | {"scans_joined": len(self.joined.sources)}

    def provenance(self, x: PtychoEstimate) -> Mapping[str, Any]:
        return {**super().provenance(x), "beams": self.beams.square().tolist()}

    def sharing_weights(self, weights: Complex[Tensor, "frame component"]) -> Complex[Tensor, "frame component"]:
        """Within a scan the probe is one, however it varies from scan to scan."""
        return torch.cat([weights[mine].mean(dim=0).expand(int(mine.sum()), -1) for mine in self._owners()])

    def of_scan(self, x: PtychoEstimate, number: int) -> PtychoEstimate:
        """What was found of one scan, with the probe as it was there and the part of the object that it saw."""
        mine = self.joined.owner == number
        beam = 1.0 if self.joined.same_object else float(self.beams[number])
        part = x.some(mine.nonzero().flatten())
        probe = part.probe * beam
        if part.variations is not None and part.weights is not None and len(part.weights):
            probe = probe.clone()
            probe[0] += beam * torch.einsum("c,cyx->yx", part.weights[0], part.variations)
        rows, columns = region(part.positions_px, self.scan.frame_shape, (x.object.shape[-2], x.object.shape[-1]))
        obj = part.object[:, rows, columns].clone()
        obj[0] /= beam
        corner = torch.tensor([rows.start, columns.start], dtype=torch.float64, device=part.positions_px.device)
        return replace(
            part, object=obj, probe=probe, positions_px=part.positions_px - corner, variations=None, weights=None
        )

    def spread_of_scan(self, spread: Estimate | None, x: PtychoEstimate, number: int) -> Estimate | None:
        """Standard deviations that belong to `of_scan`."""
        if not isinstance(spread, PtychoEstimate):
            return spread
        alone = replace(x, object=spread.object, probe=spread.probe, variations=None, weights=None)
        part = self.of_scan(alone.to("cpu"), number)
        return PtychoEstimate(object=part.object, probe=part.probe, positions_px=spread.positions_px)

    def left_out_of(self, number: int) -> Outliers:
        """Frames of one scan that were left out, by their numbers there, and pixels of all."""
        return replace(self.left_out, frames=tuple(self.joined.numbers_in(number, self.left_out.frames)))

    def _owners(self) -> list[Bool[Tensor, " frame"]]:
        return [self.joined.owner == number for number in range(len(self.joined.sources))]

    def _places(self, x: PtychoEstimate, number: int) -> Float[Tensor, "frame 2"]:
        return x.positions_px[self.joined.owner == number]


def region(
    positions_px: Float[Tensor, "frame 2"], window: tuple[int, int], canvas: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of an object array that these windows cover, with a rim."""
    lowest = [math.floor(value) for value in (positions_px.amin(dim=0) - RIM_PX).tolist()]
    highest = [math.ceil(value) for value in (positions_px.amax(dim=0) + RIM_PX).tolist()]
    rows, columns = (
        slice(max(low, 0), min(high + size, whole))
        for low, high, size, whole in zip(lowest, highest, window, canvas, strict=True)
    )
    return rows, columns
