"""Several scans with one probe put to solvers as one problem, and what was found, scan by scan."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.estimate import Estimate, PtychoEstimate
from exitwave.data.joined_scans import JoinedScans
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics
from exitwave.problems.outliers import Outliers
from exitwave.problems.probe_guess import guess_probe
from exitwave.problems.ptychography import PtychographyProblem, Region
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
        if start is None and probe is None:
            best = self._best_scan()
            probe = guess_probe(best, scan_statistics(best).mean_pattern, device=self.device)[None]
        x = super().initial(start, setup, probe=probe)
        beams = self.beams
        if start is not None or bool((beams == 1).all()):
            return x
        if self.joined.same_object:
            return replace(x, brightness=beams[self.joined.owner].to(x.probe.device))
        obj = x.object.clone()
        for one, beam in zip(self.regions(x), beams.tolist(), strict=True):
            obj[0, one.rows, one.columns] *= beam
        return replace(x, object=obj)

    def _best_scan(self) -> Scan:
        """The scan with most photons alone: frames of unlike beams would mislead the search for the first probe."""
        photons, owner = self.statistics.photons_per_frame.double(), self.joined.owner
        best = int(torch.zeros(len(self.joined.sources), dtype=torch.float64).index_add_(0, owner, photons).argmax())
        return self.joined.some((owner == best).nonzero().flatten())

    def regions(self, x: PtychoEstimate) -> tuple[Region, ...]:
        if self.joined.same_object:
            return super().regions(x)
        return tuple(self.region(x, number) for number in range(len(self.joined.sources)))

    def region(self, x: PtychoEstimate, number: int) -> Region:
        """The part of the object array that the windows of one scan cover, with a rim."""
        mine = (self.joined.owner == number).nonzero().flatten()
        places = x.positions_px[mine.to(x.positions_px.device)]
        # Whole pixels that became metres and pixels again may be off by a rounding.
        lowest = [math.floor(value + 1e-6) for value in (places.amin(dim=0) - RIM_PX).tolist()]
        highest = [math.ceil(value - 1e-6) for value in (places.amax(dim=0) + RIM_PX).tolist()]
        rows, columns = (
            slice(max(low, 0), min(high + size, whole))
            for low, high, size, whole in zip(lowest, highest, self.scan.frame_shape, x.object.shape[-2:], strict=True)
        )
        return Region(rows=rows, columns=columns, frames=mine, power=float(self.beams[number].square()))

    def identity(self, x: PtychoEstimate, setup: Setup) -> dict[str, Any]:
        return super().identity(x, setup) | {"scans_joined": len(self.joined.sources)}

    def provenance(self, x: PtychoEstimate) -> Mapping[str, Any]:
        return {**super().provenance(x), "beams": self.beams.square().tolist()}

    def sharing_weights(self, weights: Complex[Tensor, "frame component"]) -> Complex[Tensor, "frame component"]:
        """Within a scan the probe is one, however it varies from scan to scan."""
        shared = weights.clone()
        for number in range(len(self.joined.sources)):
            mine = self.joined.owner == number
            shared[mine] = weights[mine].mean(dim=0)
        return shared

    def of_scan(self, x: PtychoEstimate, number: int) -> PtychoEstimate:
        """What was found of one scan, with the probe as it was there and the part of the object that it saw."""
        place = self.region(x, number)
        beam = 1.0 if self.joined.same_object else float(self.beams[number])
        part = x.some(place.frames)
        probe = part.probe * beam
        if part.variations is not None and part.weights is not None and len(part.weights):
            probe = probe.clone()
            probe[0] += beam * torch.einsum("c,cyx->yx", part.weights[0], part.variations)
        obj = x.object[:, place.rows, place.columns].clone()
        obj[0] /= beam
        positions_px = place.placed(x.positions_px)
        return replace(part, object=obj, probe=probe, positions_px=positions_px, variations=None, weights=None)

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
