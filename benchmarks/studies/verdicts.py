"""Verdicts without truth beside the true error of the image: healthy scans, scans with one thing wrong, and single patterns.

The default solver (single patterns: `cdi`) reconstructs each as its file tells it, without the examination before a run. The
error is sqrt(1 - |c|^2) with the correlation c of the image with the true object over the scanned region, shift, ramp, twin
and the mean taken off: 0 is perfect, 1 is unrelated; from 0.7 on an image counts as failed, up to 0.35 as good. The truth
is in the table alone. A scan whose frames saw nothing but even sample has no error. Where a healthy scan has a poor image, the
same run is begun at the truth, too: if it stays there, the data tell the image, and the solver did not find it. The bounds of the
verdict were chosen on other drawings and other spoilt scans than these.
"""

import math
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

import exitwave as ew
from exitwave.data.errors import ExitwaveError
from exitwave.data.verdict import Verdict
from exitwave.evaluation.cdi_alignment import register_twin
from exitwave.evaluation.ptychography import aligned
from exitwave.evaluation.region import common_region
from harness import flaws, printed_patterns, spoilt_patterns
from harness.command_line import Parts
from harness.tables import Row, shown

PARTS = ("healthy", "flaws", "near field", "patterns", "printed patterns")
KEY = ("part", "case", "scan")
"""What makes a row another one."""
FILE = "iterative_verdicts"
FAILED, GOOD = 0.7, 0.35
"""True errors from which on, and up to which, an image is failed and good."""


def run(
    *,
    parts: Parts = PARTS,
    seed: Annotated[int, "drawing of objects and noise"] = 0,
    every: Annotated[int, "only every so many cases"] = 1,
) -> list[Row]:
    """One row for each case."""
    made = {
        "healthy": _healthy,
        "flaws": _flaws,
        "near field": _near,
        "patterns": _patterns,
        "printed patterns": _printed,
    }
    rows: list[Row] = []
    for part in parts:
        rows += made[part](seed, every)
    return rows


def _healthy(seed: int, every: int) -> list[Row]:
    rows: list[Row] = []
    for n, recipe in enumerate(flaws.healthy()[::every]):
        made = recipe.made(seed + n)
        rows += judged("healthy", "none", recipe.name, made.scan, made.truth, recipe.modes, also_from_truth=True)
    return rows


def _flaws(seed: int, every: int) -> list[Row]:
    bases = cycle(enumerate(flaws.BASES))
    return [
        row
        for name in list(flaws.FLAWS)[::every]
        for n, base in (next(bases), next(bases))
        for row in _spoilt("flaws", name, flaws.FLAWS[name], base, seed + n)
    ] + ([*_missing_modes(seed), *_torn_rows(seed)] if every == 1 else [])


def _near(seed: int, every: int) -> list[Row]:
    return [
        row
        for name in list(flaws.NEAR_FLAWS)[::every]
        for n, base in enumerate(flaws.NEAR_BASES)
        for row in _spoilt("near field", name, flaws.NEAR_FLAWS[name], base, seed + n)
    ]


def _spoilt(part: str, name: str, flaw: flaws.Flaw, base: flaws.Recipe, seed: int) -> list[Row]:
    made = base.made(seed)
    scan, truth = flaw(made.scan, made.truth)
    return judged(part, name, base.name, scan, truth, 1)


def _missing_modes(seed: int) -> list[Row]:
    rows: list[Row] = []
    for n, base in enumerate(flaws.BASES[:3]):
        made = replace(base, modes=3).made(seed + n)
        rows += judged("flaws", "two of three modes missing", base.name, made.scan, made.truth, 1)
    return rows


def _torn_rows(seed: int) -> list[Row]:
    """Rasters whose frames are off by one: only the ends of their rows are torn."""
    return [
        row
        for n, base in enumerate(flaws.RASTERS)
        for name, flaw in flaws.OFF_BY_ONE.items()
        for row in _spoilt("flaws", name, flaw, base, seed + n)
    ]


def judged(
    part: str,
    case: str,
    scan_name: str,
    scan: ew.Scan,
    truth: ew.PtychoEstimate,
    modes: int,
    *,
    also_from_truth: bool = False,
) -> list[Row]:
    """The verdict on one scan; a row without error where the scan is refused, or nothing was to be seen."""
    setup, solver = ew.Setup(modes=modes, device="cpu"), ew.default_solver()
    row: Row = {"part": part, "case": case, "scan": scan_name}
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A problem that is posed already goes through no examination.
            problem = ew.pose(scan, setup, solver=solver)
            result = ew.reconstruct(problem, solver, setup=setup)
    except ExitwaveError:
        return [shown(row | {"verdict": "refused", "error": None, "residual": None, "reason": ""})]
    seconds = time.perf_counter() - began
    # Wild frames that nobody was shown have no place in the image.
    truth = truth.some(problem.left_out.kept(len(scan)))
    error = image_error(_of_scan(result), truth) if image_error(truth, truth) < GOOD else None
    row |= _told(result.verdict, error, result.residual, seconds)
    if also_from_truth and error is not None and error > GOOD:
        begun_there = ew.reconstruct(problem, solver, start=truth, setup=setup)
        row["error_from_truth"] = image_error(_of_scan(begun_there), truth)
    return [shown(row)]


def _patterns(seed: int, every: int) -> list[Row]:
    return [
        row
        for case, name, pattern, truth in spoilt_patterns.cases(seed, every)
        for row in _of_pattern("patterns", case, name, pattern, truth.object, None)
    ]


def _printed(seed: int, every: int) -> list[Row]:
    rows: list[Row] = []
    for case, name, told, made in printed_patterns.cases(seed, every):
        with tempfile.TemporaryDirectory() as folder:
            support = printed_patterns.stated_support(made, told.given, Path(folder))
            rows += _of_pattern("printed patterns", case, name, made.pattern, made.truth, support)
    return rows


def _of_pattern(
    part: str, case: str, name: str, pattern: ew.Pattern, truth: Tensor, support: str | None
) -> Iterator[Row]:
    row: Row = {"part": part, "case": case, "scan": name}
    setup = ew.Setup(free_fraction=0.05, device="cpu", as_is=True, support=support)
    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = ew.reconstruct(pattern, ew.CDI(), setup=setup)
    except ExitwaveError:
        yield shown(row | {"verdict": "refused", "error": None, "residual": None, "reason": ""})
        return
    laid = register_twin(result.estimate.object.to(torch.complex128), truth.to(torch.complex128))
    error = math.sqrt(max(1 - laid.correlation**2, 0.0))
    yield shown(row | _told(result.verdict, error, result.residual, time.perf_counter() - began))


def _told(verdict: Verdict | None, error: float | None, residual: float, seconds: float) -> Row:
    assert verdict is not None
    told = {"verdict": verdict.grade, "error": error, "residual": residual, "reason": verdict.reasons[0]}
    return told | {"seconds": seconds, "evidence": dict(verdict.evidence)}


def _of_scan(result: ew.Result) -> ew.PtychoEstimate:
    assert isinstance(result.estimate, ew.PtychoEstimate)
    return result.estimate


def image_error(x: ew.PtychoEstimate, truth: ew.PtychoEstimate) -> float:
    """sqrt(1 - |c|^2) of the image with the truth or its twin, whichever is nearer; 1 where they do not even overlap."""
    found = [1.0]
    for one in (truth, _twin(truth)):
        try:
            common = common_region(x, one)
            laid = aligned(common)
            region = common.scanned_in_both(laid.shift_px)
        except ExitwaveError:
            continue
        found.append(_unlike(laid.image[region], common.truth[region]))
    return min(found)


def _twin(truth: ew.PtychoEstimate) -> ew.PtychoEstimate:
    """The conjugate object upside down, scanned the other way round: what both axes flipped make of a far-field scan."""
    room = torch.tensor(truth.object.shape[-2:]) - torch.tensor(truth.probe.shape[-2:])
    turned = truth.object.flip(-1, -2).conj().resolve_conj()
    return replace(truth, object=turned, positions_px=room - truth.positions_px)


def _unlike(a: Tensor, b: Tensor) -> float:
    a, b = a - a.mean(), b - b.mean()
    correlation = float(torch.vdot(a, b).abs() / (a.norm() * b.norm()).clamp(min=1e-30))
    return math.sqrt(max(1 - correlation**2, 0.0))
