"""What two wild frames of 121 do to an image: one 40 times too bright, one flat; left out as by default, and shown to solvers.

A few minutes. Errors are relative differences (NRMSE, one complex factor removed) of the object in the scanned region from
the image of the scan without these frames.
"""

import torch
from jaxtyping import Complex
from torch import Tensor

import exitwave as ew
from harness.command_line import Epochs, Solvers
from harness.solvers import make
from harness.tables import Row, shown

METHODS = ("rpie", "mpie", "lsqml", "newton", "lbfgs", "raar", "dm", "adam")
BRIGHT, FLAT = 60, 17
KEY = ("solver",)
FILE = "outliers"


def run(*, solvers: Solvers = (), epochs: Epochs = 40) -> list[Row]:
    """One row for each method."""
    torch.set_num_threads(1)
    made = ew.simulate("siemens", frames=121, frame_px=64, photons_per_frame=1e5, seed=81)
    frames = made.scan.frames(slice(None)).clone()
    frames[BRIGHT] *= 40
    frames[FLAT] = frames[FLAT].mean()
    spoilt = ew.Scan(patterns=frames, positions_m=made.scan.positions_m, geometry=made.scan.geometry)
    without = made.scan.some(torch.tensor([n for n in range(121) if n not in (BRIGHT, FLAT)]))
    rows: list[Row] = []
    for name in solvers or METHODS:
        solver = make(name, epochs=epochs)
        assert solver is not None
        clean = image(without, solver, robust=True)
        row: Row = {"solver": name}
        row["left out"] = difference(image(spoilt, solver, robust=True), clean)
        row["shown"] = difference(image(spoilt, solver, robust=False), clean)
        rows.append(shown(row))
    return rows


def image(scan: ew.Scan, solver: ew.Solver, *, robust: bool) -> Complex[Tensor, "y x"]:
    """The object in the scanned region, taken as it is but for what `robust` leaves out."""
    return ew.reconstruct(scan, solver, setup=ew.Setup(device="cpu", robust=robust)).estimate.plane()[32:-32, 32:-32]


def difference(one: Complex[Tensor, "y x"], other: Complex[Tensor, "y x"]) -> float:
    """Relative difference after one complex factor."""
    factor = torch.vdot(one.flatten(), other.flatten()) / torch.vdot(one.flatten(), one.flatten())
    return float((factor * one - other).norm() / other.norm())
