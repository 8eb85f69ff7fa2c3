"""How good an image is: alignment, metrics under precise ids, resolution. Judges; never runs a solver."""

from exitwave.evaluate.align import PTYCHOGRAPHY_GAUGE, Alignment, Freedom, align, move
from exitwave.evaluate.evaluation import Evaluation, compare_halves, evaluate, probe_error
from exitwave.evaluate.fidelity import METRICS, Metric
from exitwave.evaluate.region import (
    CommonRegion,
    common_region,
    inscribed_rectangle,
    overlay,
    projection,
    scanned_region,
)
from exitwave.evaluate.resolution import RingCorrelation, fourier_ring_correlation, information_threshold

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
    "move",
    "overlay",
    "probe_error",
    "projection",
    "scanned_region",
]
