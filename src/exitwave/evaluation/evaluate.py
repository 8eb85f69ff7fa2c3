"""Judge a reconstruction: by how it fits the data and, where the truth is known, by how far it is from it."""

from collections.abc import Collection
from dataclasses import replace

from exitwave.data.estimate import Estimate, PtychoEstimate

# Imported for the kinds of estimate that they know how to judge.
from exitwave.evaluation import cdi as cdi, crystals as crystals, ptychography as ptychography
from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE, Freedom
from exitwave.evaluation.evaluation import Evaluation, judge
from exitwave.io.given import GivenResult, given_result
from exitwave.problems.outliers import Outliers


def evaluate(
    result: GivenResult, *, truth: Estimate | None = None, remove: Collection[Freedom] = PTYCHOGRAPHY_GAUGE
) -> Evaluation:
    """Judge a reconstruction, or the file of one, by how it fits the data and, where the truth is known, by how far it is from
    it.

    The truth must be of the same frames; its object array may lie elsewhere. What diffraction cannot know is taken off first:
    for ptychography what `remove` names, for an isolated object shift, twin, phase and scale, for a crystal the slope of its
    phase, too, for other kinds a complex factor. Raises InputError when the two cannot be compared.
    """
    result = given_result(result)
    metrics = {"residual": result.residual}
    if result.free_residual is not None:
        metrics["free-residual"] = result.free_residual
    if truth is None:
        return Evaluation(metrics=metrics, verdict=result.verdict, provenance=result.provenance)
    if isinstance(truth, PtychoEstimate) and isinstance(result.estimate, PtychoEstimate):
        truth = Outliers.stored(result.provenance).of_start(truth, len(result.estimate.positions_px))
    found = judge(result.estimate, truth, result.object_pixel_m, remove)
    return replace(found, metrics={**metrics, **found.metrics}, verdict=result.verdict, provenance=result.provenance)
