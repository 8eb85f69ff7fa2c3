"""Does every frame stand at its own position, or at that of the frame before or after? A test on a small patch."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int
from scipy.spatial import KDTree
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.scan import Scan
from exitwave.problems.examination import healthy
from exitwave.problems.position_trials import PositionTrial, cut_down, likely_probes
from exitwave.problems.ptychography import PtychographyProblem

FRAMES = 36
PLACES = 200
"""Places of the scan at most that are compared, for the one where the order of the frames matters most."""
FIRST_EPOCHS, EPOCHS = 5, 12
CLEAR = 0.8
"""Another order is told where its residual is below this share of that of the order in the file."""


@dataclass(frozen=True, kw_only=True)
class FrameLag:
    """How well a patch fits when each frame stands at the position of the one before, at its own, or of the one after."""

    before: float
    own: float
    after: float
    """Squared relative amplitude residuals."""

    @property
    def lag(self) -> int:
        """By how many places frames and positions are shifted: 1 when frame k belongs to position k + 1; 0 without a clear sign."""
        if min(self.before, self.after) < CLEAR * self.own:
            return 1 if self.after < self.before else -1
        return 0


def frame_lag(scan: Scan, *, seed: int = 0) -> FrameLag:
    """Try shifts of the frames against the positions by one, on a patch where neighbours in time lie differently in space.

    Along a straight row a shift by one only moves the object; where rows end, and with any jitter, it tears the image.
    """
    scan = healthy(scan)
    places = _telling_places(scan)
    scans = _shifted(scan, places)
    problems = [PtychographyProblem.of(each, seed=seed).unbiased() for each in scans]
    pixel = torch.tensor(scans[1].object_pixel_m, dtype=torch.float64)
    at = (scans[1].positions_m / pixel).round()
    # The sign of the defocus is open as long as that of the positions is.
    probes = [p for probe in likely_probes(problems[1]) for p in (probe, probe.conj())]
    found: list[float] = []
    for problem in problems:
        trials = [PositionTrial.begun(problem, at, probe) for probe in probes]
        for trial in trials:
            trial.go_on(FIRST_EPOCHS)
        best = sorted(trials, key=lambda trial: trial.misfit)[:2]
        for trial in best:
            trial.go_on(EPOCHS)
        found.append(min(trial.misfit for trial in best))
    return FrameLag(before=found[0], own=found[1], after=found[2])


def _telling_places(scan: Scan) -> Int[Tensor, " place"]:
    """Neighbouring positions whose ways to the next one differ most, for as many frames as a trial takes."""
    count = min(FRAMES, len(scan) - 2)
    positions = scan.positions_m[1:-1].numpy()
    steps = scan.positions_m[2:] - scan.positions_m[1:-1]
    usual = steps.norm(dim=1).median()
    tree = KDTree(positions)
    tried = torch.linspace(0, len(positions) - 1, min(PLACES, len(positions)), dtype=torch.float64).round().long()
    near = torch.from_numpy(tree.query(positions[tried], k=count)[1]).reshape(len(tried), count)
    own = steps[near]
    off = (own - own.median(dim=1, keepdim=True).values).norm(dim=2).clamp(max=float(usual))
    best = near[int(off.mean(dim=1).argmax())].sort().values
    return best + 1


def _shifted(scan: Scan, places: Int[Tensor, " place"]) -> list[Scan]:
    """The frames that stand at these places when frame k belongs to position k - 1, k, k + 1."""
    needed = torch.cat([places - 1, places, places + 1]).unique()
    part = cut_down(prepare.to_memory(prepare.select(scan, needed)))
    shifted = (prepare.select(part, torch.searchsorted(needed, places - lag)) for lag in (-1, 0, 1))
    return [replace(each, positions_m=scan.positions_m[places]) for each in shifted]
