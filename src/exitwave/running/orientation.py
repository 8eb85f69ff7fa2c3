"""Which way round is the detector? Try all orientations on a few frames and rank them by how well they fit."""

from dataclasses import dataclass

import torch

from exitwave.data import prepare
from exitwave.data.checks import step_px
from exitwave.data.scan import Scan
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.ptychography.pie import RPIE

FRAMES = 64
EPOCHS = 15

# Turning frames *and* positions by half a turn only turns the object: an orientation with one sign of the positions is the
# same experiment as its half-turned partner with the other sign.
_HALF_TURNED: dict[prepare.Orientation, prepare.Orientation] = {
    "identity": "rot180",
    "rot180": "identity",
    "fliplr": "flipud",
    "flipud": "fliplr",
    "transpose": "antitranspose",
    "antitranspose": "transpose",
    "rot90_cw": "rot90_ccw",
    "rot90_ccw": "rot90_cw",
}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """How well a scan fits when its frames are turned like this and its positions keep or change their sign."""

    orientation: prepare.Orientation
    flip_positions: bool
    """Whether the sign of both position columns is changed, relative to the scan as it was read."""
    residual: float
    """Squared relative amplitude residual reached."""


def rank_orientations(scan: Scan, *, seed: int = 0) -> list[Trial]:
    """Fit a compact patch of the scan in all 8 detector orientations x 2 position signs; the best first.

    In the far field a half turn of the frames only conjugates the object, so that pairs of trials fit equally well and
    the sign of the phase must come from what is known of the sample. In the near field all can be told apart.
    """
    middle = scan.positions_m.median(dim=0).values
    reach = max(FRAMES, 4)
    nearest = (scan.positions_m - middle).square().sum(dim=1).argsort()[:reach].sort().values
    patch = prepare.to_memory(prepare.select(scan, nearest))
    solver, setup = RPIE(epochs=EPOCHS), Setup(seed=seed, device="cpu")
    trials: list[Trial] = []
    for orientation in prepare.ORIENTATIONS:
        turned = prepare.orient(patch, orientation)
        residual = reconstruct(turned, solver, setup=setup).residual
        trials.append(Trial(orientation=orientation, flip_positions=False, residual=residual))
        trials.append(Trial(orientation=_HALF_TURNED[orientation], flip_positions=True, residual=residual))
    # Among equals the least change first: the frames as they are, the signs as they are.
    return sorted(trials, key=lambda t: (float(f"{t.residual:.3g}"), t.orientation != "identity", t.flip_positions))


def suspicious_overlap(scan: Scan) -> bool:
    """Whether neighbouring frames overlap too little for a ranking to mean anything."""
    return step_px(scan) > 0.7 * min(scan.frame_shape) or len(torch.unique(scan.positions_m, dim=0)) < 9
