"""Cuts through a crystal in the laboratory frame: amplitude, displacement and strain."""

import numpy as np
from jaxtyping import Shaped

from exitwave.data.estimate import BraggEstimate
from exitwave.physics.crystal.laboratory import crystal_in_laboratory
from exitwave.reports.views import Map, ObjectImage, object_images

CUTS = (
    ("the cut across the beam (x to the right, y up)", 0),
    ("the horizontal cut (x to the right, z down)", 1),
    ("the vertical cut along the beam (z to the right, y up)", 2),
)
"""Three planes through the middle of a crystal, and the axis of (z, y, x) that each is across."""
PICOMETRE = 1e-12


@object_images.register
def _(estimate: BraggEstimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """Whatever the pixel of its array: the laboratory's grid has its own."""
    crystal = crystal_in_laboratory(estimate)
    return [
        ObjectImage(
            name=name,
            image=_plane(crystal.object, axis, crystal.middle[axis]),
            # All of the box: what is dark around a crystal is known to be.
            region=np.ones_like(_plane(crystal.support, axis, crystal.middle[axis])),
            phased=_plane(crystal.support, axis, crystal.middle[axis]),
            pixel_m=(crystal.voxel_m, crystal.voxel_m),
            maps=(
                Map(
                    name="displacement",
                    values=_plane(crystal.displacement_m, axis, crystal.middle[axis]) / PICOMETRE,
                    unit="pm",
                    caption="Displacement of the lattice along Q; its mean and mean slope are taken off.",
                ),
                Map(
                    name="strain",
                    values=100 * _plane(crystal.strain, axis, crystal.middle[axis]),
                    unit="%",
                    caption="Strain along Q, relative to the mean lattice: red is stretched, blue is compressed.",
                ),
            ),
        )
        for name, axis in CUTS
    ]


def _plane(values: Shaped[np.ndarray, "z y x"], axis: int, place: int) -> Shaped[np.ndarray, "row column"]:
    """A cut as it is looked at: y up; of two horizontal axes x to the right."""
    plane = np.take(values, place, axis=axis)
    match axis:
        case 0:
            return plane[::-1]
        case 1:
            return plane
        case _:
            return plane.T[::-1]
