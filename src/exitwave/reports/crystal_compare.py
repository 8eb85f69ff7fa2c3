"""Crystals side by side: laid onto one of them in three dimensions, then cut in the laboratory as it is."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from exitwave.data.errors import ExitwaveError
from exitwave.data.estimate import BraggEstimate
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.data.result import Result
from exitwave.evaluation.crystal_alignment import register_crystal
from exitwave.evaluation.evaluation import best_factor, of_same_kind, require_same_shape
from exitwave.physics.crystal.laboratory import crystal_in_laboratory
from exitwave.physics.crystal.levelled import SURFACE, bulk_amplitude
from exitwave.physics.crystal.phase import levelled
from exitwave.physics.crystal.strain import displacement_of
from exitwave.reports.compare_pictures import MOST_PIXELS, Sample, laid_onto
from exitwave.reports.crystal_views import cuts, on_voxels_of
from exitwave.reports.views import View, shown_view


@laid_onto.register
def _(reference: BraggEstimate, name: str, others: Sequence[tuple[str, Result]], first_result: Result) -> list[Sample]:
    crystal = crystal_in_laboratory(reference)
    found = [(name, crystal)]
    for other, result in others:
        try:
            found.append((other, _laid(result.estimate, reference, crystal)))
        except ExitwaveError:
            # Nothing in common, or nothing there.
            continue
    return [_sample(each, volume) for each, volume in found]


def _sample(name: str, crystal: LaboratoryCrystal) -> Sample:
    views: tuple[View, ...] = tuple(shown_view(each, MOST_PIXELS) for each in cuts(crystal))
    return Sample(name=name, view=views[0], probe=None, cuts=views)


def _laid(estimate: object, reference: BraggEstimate, crystal: LaboratoryCrystal) -> LaboratoryCrystal:
    """A reconstruction on the voxels of the reference's crystal, in its pose and scale."""
    given = of_same_kind(estimate, reference)  # pyright: ignore[reportArgumentType]
    image, target = (x.object.detach().cpu().to(torch.complex128) for x in (given, reference))
    require_same_shape(image, target)
    laid = register_crystal(image, target).laid.image
    array = (laid * best_factor(laid, target)).numpy()
    bright = np.abs(array) >= SURFACE * bulk_amplitude(np.abs(array))
    flat, _ = levelled(array, bright)
    amplitude = on_voxels_of(crystal, reference, np.abs(flat))
    support = amplitude >= SURFACE * bulk_amplitude(amplitude)
    obj = amplitude * np.exp(1j * np.angle(on_voxels_of(crystal, reference, flat)))
    displacement_m = displacement_of(obj, support, crystal.scattering_vector)
    return replace(
        crystal,
        object=obj.astype(np.complex64),
        support=support,
        displacement_m=displacement_m,
        # Not shown here; that of the reference must not stand for it.
        strain=np.full(amplitude.shape, np.nan),
    )
