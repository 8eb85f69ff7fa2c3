"""You will see a metric of your own beside the built-in ones, for a reconstruction that grows better.

    python metric.py [frames]

The metric: the correlation coefficient of the phases, 1 for equal images.
"""

import sys

import torch

import exitwave as ew
from exitwave.evaluation.metrics import METRICS, Metric
from exitwave.evaluation.ptychography import aligned
from exitwave.evaluation.region import common_region, inscribed_rectangle


def phase_correlation(estimate: torch.Tensor, truth: torch.Tensor) -> dict[str, float]:
    """M-phase-correlation: Pearson correlation coefficient of the phases of two images, in [-1, 1]."""
    phases = torch.stack([estimate.angle().flatten(), truth.angle().flatten()])
    return {"M-phase-correlation": float(torch.corrcoef(phases)[0, 1])}


# In the package: the function in src/exitwave/evaluation/metrics.py, and this one line in METRICS. `evaluate`, reports
# and comparisons then have it. For volumes `dimensions=(3,)`; `subject` says what is compared.
MINE = {"M-phase-correlation": Metric(phase_correlation, "correlation of phases", higher_is_better=True)}
assert not MINE.keys() & METRICS.keys(), "an id must not be mistaken for another definition"

made = ew.simulate("siemens", frames=int(sys.argv[1]) if len(sys.argv) > 1 else 121, frame_px=64, overlap=0.7)
for epochs in (2, 10, 50):
    result = ew.reconstruct(made.scan, ew.RPIE(epochs=epochs))
    common = common_region(result.estimate, made.truth)
    # Global phase, scale, ramp and shift, which no measurement knows, are removed before.
    alignment = aligned(common)
    box = inscribed_rectangle(common.scanned_in_both(alignment.shift_px))
    for name, metric in MINE.items():
        (value,) = metric.function(alignment.image[box], common.truth[box]).values()
        error = ew.evaluate(result, truth=made.truth).metrics["M-NRMSE"]
        print(f"{epochs:3} epochs: {name} {value:.4f}, M-NRMSE {error:.4f}")
