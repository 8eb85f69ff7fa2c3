"""Cuts through a crystal in the laboratory frame: amplitude, displacement and strain."""

from dataclasses import replace

import numpy as np
from jaxtyping import Inexact, Shaped
from scipy import ndimage

from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate, SupportEstimate
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.physics.crystal.laboratory import crystal_in_laboratory
from exitwave.reports.views import Map, ObjectImage, deviation_images, object_images

CUTS = (
    ("the cut across the beam (x →, y ↑)", 0),
    ("the horizontal cut (x →, z ↓)", 1),
    ("the vertical cut (z →, y ↑)", 2),
)
"""Three planes through the middle of a crystal, and the axis of (z, y, x) that each is across."""
PICOMETRE = 1e-12
STRAIN, STRAIN_UNIT = 1e-4, "10⁻⁴"


@object_images.register
def _(estimate: BraggEstimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """Whatever the pixel of its array: the laboratory's grid has its own."""
    try:
        crystal = crystal_in_laboratory(estimate)
    except InputError:
        # Nothing is there, as after a run that diverged: its bare array is shown.
        return object_images(_bare(estimate), pixel_m)
    return cuts(crystal)


def _bare(estimate: BraggEstimate) -> SupportEstimate:
    """The same as it lies in its array, without the laboratory."""
    return SupportEstimate(object=estimate.object, support=estimate.support, beam_photons=estimate.beam_photons)


def cuts(crystal: LaboratoryCrystal) -> list[ObjectImage]:
    """The three planes through the middle of a crystal."""
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
                    values=_plane(crystal.strain, axis, crystal.middle[axis]) / STRAIN,
                    unit=STRAIN_UNIT,
                    caption="Strain along Q, relative to the mean lattice: red is stretched, blue is compressed.",
                ),
            ),
        )
        for name, axis in CUTS
    ]


@deviation_images.register
def _(estimate: BraggEstimate, deviation: Estimate, pixel_m: tuple[float, ...]) -> list[ObjectImage]:
    """On the voxels of the crystal, not on those that would suit the deviation."""
    try:
        crystal = crystal_in_laboratory(estimate)
    except InputError:
        return deviation_images(_bare(estimate), deviation, pixel_m)
    values = on_voxels_of(crystal, estimate, np.real(deviation.numpy()["object"]))
    images = object_images(estimate, pixel_m)
    planes = [_plane(values, axis, crystal.middle[axis]).astype(np.complex64) for _, axis in CUTS]
    return [replace(image, image=plane, maps=()) for image, plane in zip(images, planes, strict=True)]


def on_voxels_of(
    crystal: LaboratoryCrystal, estimate: BraggEstimate, values: Inexact[np.ndarray, "frame y x"]
) -> Inexact[np.ndarray, "z y x"]:
    """Values of the estimate's array where its crystal has its voxels in the laboratory."""
    held = estimate.numpy()
    centre = ndimage.center_of_mass(np.abs(held["object"]) * held["support"])
    to_array = np.linalg.inv(held["basis_m"].astype(np.float64))
    return ndimage.affine_transform(
        values,
        to_array * crystal.voxel_m,
        offset=np.asarray(centre) + to_array @ crystal.origin_m,  # pyright: ignore[reportArgumentType]  # its stub says float
        output_shape=crystal.object.shape,
        order=1,
    )


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
