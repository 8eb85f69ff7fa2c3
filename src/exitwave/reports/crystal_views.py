"""Cuts through a crystal in the laboratory frame: amplitude, displacement and strain."""

import numpy as np
from jaxtyping import Shaped

from exitwave.data.estimate import BraggEstimate
from exitwave.physics.crystal.isosurface import HALF, plateau
from exitwave.physics.crystal.profiles import centre_of_mass
from exitwave.physics.crystal.standin import LaboratoryCrystal, laboratory
from exitwave.reports.views import Map, ObjectImage, object_images

CUTS = (
    ("the cut across the beam: x to the right, y up", 0),
    ("the horizontal cut: x to the right, z down (along the beam)", 1),
    ("the vertical cut along the beam: z to the right, y up", 2),
)
"""Three planes through the middle of a crystal, and the axis of (z, y, x) that each is across."""
PICOMETRE = 1e-12


def known(crystal: LaboratoryCrystal) -> np.ndarray:
    """Where a crystal is bright enough for its phase to mean something."""
    return crystal.support & (crystal.amplitude > 0.5 * HALF * plateau(crystal.amplitude))


@object_images.register
def _(estimate: BraggEstimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """Whatever the pixel of its array: the laboratory's grid has its own."""
    crystal = laboratory(estimate)
    middle, shown = tuple(round(place) for place in centre_of_mass(crystal.amplitude)), known(crystal)
    u, strain = (np.where(shown, values, np.nan) for values in (crystal.displacement_m, crystal.strain))
    return [
        ObjectImage(
            name=name,
            image=_plane(crystal.object, axis, middle[axis]),
            # All of the box: what is dark around a crystal is known to be.
            region=np.ones(_plane(shown, axis, middle[axis]).shape, dtype=bool),
            phased=_plane(shown, axis, middle[axis]),
            pixel_m=(crystal.step_m, crystal.step_m),
            maps=(
                Map(
                    name="displacement",
                    values=_plane(u, axis, middle[axis]) / PICOMETRE,
                    unit="pm",
                    caption="Displacement of the lattice along Q, with neither offset nor mean slope.",
                ),
                Map(
                    name="strain",
                    values=100 * _plane(strain, axis, middle[axis]),
                    unit="%",
                    caption="Strain along Q: change of the displacement per length; red is stretched.",
                ),
            ),
        )
        for name, axis in CUTS
    ]


def _plane(values: Shaped[np.ndarray, "z y x"], axis: int, place: int) -> Shaped[np.ndarray, "row column"]:
    """A cut as it is looked at: y up; of the two horizontal axes x to the right where it is there."""
    plane = np.take(values, place, axis=axis)
    match axis:
        case 0:
            return plane[::-1]
        case 1:
            return plane
        case _:
            return plane.T[::-1]
