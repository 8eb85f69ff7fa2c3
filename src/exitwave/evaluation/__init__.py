"""How good an image is: alignment, metrics under precise ids, resolution. Judges; never runs a solver."""

from exitwave.evaluation.align import PTYCHOGRAPHY_GAUGE, Alignment, Freedom, align, move
from exitwave.evaluation.fidelity import METRICS, Metric
from exitwave.evaluation.judge import Evaluation, compare_halves, evaluate, merge, probe_error
from exitwave.evaluation.region import (
    CommonRegion,
    common_region,
    inscribed_rectangle,
    overlay,
    projection,
    scanned_region,
)
from exitwave.evaluation.resolution import RingCorrelation, fourier_ring_correlation, information_threshold

__all__ = [
    "METRICS",
    "PTYCHOGRAPHY_GAUGE",
    "Alignment",
    "CommonRegion",
    "Evaluation",
    "Freedom",
    "Metric",
    "RingCorrelation",
    "align",
    "common_region",
    "compare_halves",
    "evaluate",
    "fourier_ring_correlation",
    "information_threshold",
    "inscribed_rectangle",
    "merge",
    "move",
    "overlay",
    "probe_error",
    "projection",
    "scanned_region",
]
