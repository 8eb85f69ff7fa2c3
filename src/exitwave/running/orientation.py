"""How do the axes of the stage lie against the detector? Mirrored, turned, stretched, sheared: found on a few frames."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.checks import step_px
from exitwave.data.errors import DoubtfulImageWarning, ExitwaveError, InputError
from exitwave.data.measurement import Measurement
from exitwave.data.position_map import PositionMap
from exitwave.data.scan import Scan
from exitwave.problems.centre_of_mass import least_curl
from exitwave.problems.examination import healthy
from exitwave.problems.position_trials import (
    Mapped,
    PositionTrial,
    compact,
    cut_down,
    likely_probes,
    linear_map,
)
from exitwave.problems.ptychography import PtychographyProblem

COARSE_FRAMES, MIDDLE_FRAMES, FINE_FRAMES = 24, 36, 81
"""Frames of the three rounds: few, so that a wrong angle moves none of them far, then more, for precision."""
COARSE_EPOCHS = 4
"""Between two looks at the residuals."""
MIDDLE: tuple[tuple[int, Mapped, float], ...] = ((14, "turned", 1.0),)
FINE: tuple[tuple[int, Mapped, float], ...] = ((20, "turned", 1.0), (24, "freely", 1.0), (8, "not", 0.3))
"""Epochs, how positions move in them, step length."""
ANGLES = 24
"""Directions tried all around."""
KEPT = (20, 6, 2)
"""Candidates kept after each look at their residuals."""
DISTINCT_DEG = 20.0
"""Maps closer than this lead to the same place."""
CLEAR_CURL, CURL_ANGLE_DEG = 0.6, 5.0
"""The least curl is decisive below this share of that of mirrored frames, where it fixes the angle that well."""
CLEAR = 0.75
"""The best residual is decisive below this share of that of the next other way to lay frames and stage, photon noise taken off."""
ABOVE_NOISE = 0.05
"""And where the other is worse by this share of the noise at least."""
AS_RECORDED_DEG, SHEAR_AS_RECORDED_DEG, STRETCH_AS_RECORDED = 0.2, 0.6, 0.015
"""Angles and stretches nearer to none than this are taken for none. Stretch and shear are hardly told from a change of defocus
and astigmatism."""


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How frames must be laid and positions mapped to fit each other, how well they then do, and how sure that is."""

    frames: prepare.Orientation
    """How frames must be turned or mirrored, relative to the scan as it was read."""
    flip_positions: bool
    """Whether the sign of both position columns changes."""
    positions: PositionMap
    """What positions are multiplied by, after their sign."""
    deviation: float
    """Standard deviation of the entries of that matrix."""
    residual: float
    """Squared relative amplitude residual reached with them."""
    runner_up: float
    """That of the next best way to lay the frames."""
    as_read: float
    """That of the scan as it was read."""
    noise: float = 0.0
    """What photon noise leaves of the residuals; 0 where values are no whole numbers, and so perhaps no photons."""
    judged_by: Literal["residual", "curl"] = "residual"
    """Residuals of trial reconstructions or, of electrons, the curl that the motion of the centre of mass has left, over the most
    that any angle gives."""

    @property
    def sure(self) -> bool:
        """Whether the frames leave no reasonable doubt."""
        return not self.doubts

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why it may not be so."""
        found: list[str] = []
        gap, above_noise = self.runner_up - self.residual, self.runner_up - self.noise
        if gap < ABOVE_NOISE * self.noise or not gap > (1 - CLEAR) * above_noise:
            found.append(f"another way to lay the frames fits nearly as well (residual {self.runner_up:.4g})")
        if self.deviation > (0.02 if self.judged_by == "residual" else math.radians(CURL_ANGLE_DEG)):
            found.append(f"the frames fix the map of the positions to {self.deviation:.1%} only")
        return tuple(found)

    @property
    def changes(self) -> bool:
        """Whether anything is to be changed."""
        return self.frames != "identity" or self.flip_positions or self.maps

    @property
    def maps(self) -> bool:
        """Whether positions are to be turned, stretched or sheared."""
        return self.positions.largest_change > 0

    def options(self, scan: Scan) -> tuple[str, ...]:
        """What to add to the command line that read this scan for it to be read right."""
        found: list[str] = []
        if self.frames != "identity":
            stated = scan.provenance.get("orientation", "identity")
            turns = sum(str(line).startswith("orient:") for line in scan.provenance.get("preparation", ()))
            # Reading a file turned leaves a note, too.
            prepared = turns > (stated != "identity")
            already = prepare.laid(stated)
            both = prepare.laid(self.frames) @ already
            name = next(name for name in prepare.ORIENTATIONS if torch.equal(prepare.laid(name), both))
            found.append(f"--prepare orient={self.frames}" if prepared else f"--orientation {name}")
        if self.flip_positions:
            sign = scan.provenance.get("position_sign", "probe")
            found.append(f"--position-sign {'probe' if sign == 'sample' else 'sample'}")
        if self.maps:
            turned = float(scan.provenance.get("rotation_deg", 0.0)) + self.positions.rotation_deg
            rows = ",".join(f"[{a:.5f},{b:.5f}]" for a, b in self.positions.matrix)
            found.append(f"--rotation-deg {turned:.3f}" if self.turns_only else f"--prepare map_positions=[{rows}]")
        return tuple(found)

    @property
    def turns_only(self) -> bool:
        """Whether positions are turned, and neither stretched nor sheared."""
        turn = prepare.rotation(self.positions.rotation_deg)
        return float((torch.tensor(self.positions.matrix, dtype=torch.float64) - turn).abs().max()) < 1e-6

    @property
    def words(self) -> str:
        """What was found, in a line."""
        if not self.changes:
            return "frames and positions fit as they are"
        y, x = self.positions.scales
        laid = [f"frames {self.frames}"] * (self.frames != "identity")
        laid += ["positions with the other sign"] * self.flip_positions
        mapped = [f"positions turned by {self.positions.rotation_deg:+.2f} deg"] * self.maps
        if self.maps and not self.turns_only:
            mapped.append(
                f"stretched to {y:.2%} (y) and {x:.2%} (x), axes {self.positions.shear_deg:+.2f} deg off a right angle"
            )
        return ", ".join(laid + mapped)

    def applied(self, scan: Scan) -> Scan:
        """The scan with its frames laid and its positions mapped like this."""
        if self.frames != "identity":
            scan = prepare.orient(scan, self.frames)
        if self.flip_positions:
            scan = prepare.map_positions(scan, ((-1.0, 0.0), (0.0, -1.0)))
        return prepare.map_positions(scan, self.positions.matrix) if self.maps else scan


@dataclass(eq=False)
class _Candidate:
    """A trial with the linear map (metres) that its positions were made with."""

    mirrored: bool
    matrix: Float[Tensor, "2 2"]
    trial: PositionTrial


def find_orientation(scan: Scan, *, seed: int = 0, progress: Callable[[str], None] | None = None) -> Orientation:
    """Find how frames lie against positions, and by what linear map positions are off, from a compact patch of the scan.

    All directions of the stage, mirrored or not, are tried on a few cut-down frames with several probes; the best go on with
    more frames while a linear map of the positions is refined. In the far field a half turn only conjugates the object, so
    that the one with the fewest changes is taken and the sign of the phase must come from what is known of the sample.
    Of electrons the motion of the centre of mass tells at once, where it is clear; only else frames are tried.
    Raises ExitwaveError where neighbours overlap too little, or are too few, for this to mean anything.
    """
    if scan.geometry.particle == "electron" and not scan.geometry.near_field and (clear := _by_curl(scan)) is not None:
        return clear
    if suspicious_overlap(scan):
        raise ExitwaveError(
            "too few or too sparse positions to tell orientations apart; state --orientation and --position-sign"
        )
    tell = progress or (lambda _: None)
    tell("examining")
    scan = healthy(scan)
    tell("trying directions")
    coarse = _coarse(scan, seed)
    tell(f"refining {len(coarse)} of them")
    middle = _next_round(scan, coarse, MIDDLE_FRAMES, MIDDLE, seed)[: KEPT[2]]
    tell(f"refining {len(middle)} on more frames")
    fine = _next_round(scan, middle, FINE_FRAMES, FINE, seed)
    return _told(scan, fine, _as_read(scan, fine[0], seed))


def oriented(measurement: Measurement, *, seed: int = 0) -> Measurement:
    """The scan as its frames say that it lies; as it is, with a DoubtfulImageWarning, where they leave it open.

    Raises InputError for what is no scan, ExitwaveError as `find_orientation` does.
    """
    if not isinstance(measurement, Scan):
        raise InputError(f"orientations can be told apart for a scan only; this is {measurement.title}")
    found = find_orientation(measurement, seed=seed)
    if not found.sure:
        warnings.warn(
            f"frames and positions were left as they are: perhaps {found.words}, but {'; '.join(found.doubts)}",
            DoubtfulImageWarning,
            stacklevel=2,
        )
        return measurement
    scan = found.applied(measurement)
    return replace(scan, provenance={**scan.provenance, "auto_orient": found.words})


def suspicious_overlap(scan: Scan) -> bool:
    """Whether neighbouring frames overlap too little for a ranking to mean anything."""
    return step_px(scan) > 0.7 * min(scan.frame_shape) or len(torch.unique(scan.positions_m, dim=0)) < 9


def _problems(scan: Scan, count: int, seed: int) -> tuple[PtychographyProblem, PtychographyProblem]:
    """A patch as it is, and mirrored at the diagonal."""
    patch = cut_down(compact(scan, count))
    mirrored = prepare.to_memory(prepare.orient(patch, "transpose"))
    # So that dark pixels do not make patterns narrower, and the scan wider.
    as_it_is, turned = (PtychographyProblem.of(each, seed=seed).unbiased() for each in (patch, mirrored))
    return as_it_is, turned


def _positions_px(problem: PtychographyProblem, matrix: Float[Tensor, "2 2"]) -> Float[Tensor, "frame 2"]:
    return problem.scan.positions_m @ matrix.T / torch.tensor(problem.scan.object_pixel_m, dtype=torch.float64)


def _coarse(scan: Scan, seed: int) -> list[_Candidate]:
    """All directions, mirrored or not, with all likely probes; those that do best after a few epochs, each direction once."""
    found: list[_Candidate] = []
    for mirrored, problem in enumerate(_problems(scan, COARSE_FRAMES, seed)):
        probes = likely_probes(problem)
        for number in range(ANGLES):
            matrix = prepare.rotation(360.0 * number / ANGLES)
            places = _positions_px(problem, matrix).round()
            found += [_Candidate(bool(mirrored), matrix, PositionTrial.begun(problem, places, p)) for p in probes]
    for epochs, kept in ((COARSE_EPOCHS, KEPT[0] * 2), (COARSE_EPOCHS, KEPT[0]), (COARSE_EPOCHS, KEPT[1])):
        for candidate in found:
            candidate.trial.go_on(epochs)
        found = _best(found, kept, distinct=kept == KEPT[1])
    return found


def _best(candidates: list[_Candidate], count: int, *, distinct: bool) -> list[_Candidate]:
    ranked = sorted(candidates, key=lambda c: c.trial.misfit)
    kept: list[_Candidate] = []
    for candidate in ranked:
        if not (distinct and any(_same(candidate, other) for other in kept)):
            kept.append(candidate)
    return kept[:count]


def _same(a: _Candidate, b: _Candidate) -> bool:
    if a.mirrored != b.mirrored:
        return False
    turn = PositionMap.of(a.matrix @ torch.linalg.inv(b.matrix)).rotation_deg
    return abs((turn + 180) % 360 - 180) < DISTINCT_DEG


def _next_round(
    scan: Scan, candidates: list[_Candidate], count: int, stages: tuple[tuple[int, Mapped, float], ...], seed: int
) -> list[_Candidate]:
    """From empty objects again, on more frames, with the probes found so far and linear maps that are improved; best first."""
    problems = _problems(scan, count, seed)
    found: list[_Candidate] = []
    for candidate in candidates:
        problem = problems[candidate.mirrored]
        trial = PositionTrial.begun(problem, _positions_px(problem, candidate.matrix), candidate.trial.x.probe)
        for epochs, mapped, gain in stages:
            trial.go_on(epochs, mapped=mapped, gain=gain)
        pixel = torch.tensor(problem.scan.object_pixel_m, dtype=torch.float64)
        matrix = linear_map(problem.scan.positions_m, trial.x.positions_px * pixel)
        found.append(_Candidate(candidate.mirrored, matrix, trial))
    return _best(found, len(found), distinct=True)


def _as_read(scan: Scan, best: _Candidate, seed: int) -> float:
    """The residual of the scan as it was read, with the probe of the best."""
    problem = _problems(scan, FINE_FRAMES, seed)[0]
    residuals: list[float] = []
    for probe in (best.trial.x.probe, best.trial.x.probe.conj()):
        trial = PositionTrial.begun(problem, _positions_px(problem, torch.eye(2, dtype=torch.float64)), probe)
        for epochs, _, gain in FINE:
            trial.go_on(epochs, gain=gain)
        residuals.append(trial.misfit)
    return min(residuals)


def _by_curl(scan: Scan) -> Orientation | None:
    """By the curl of the centre of mass; None where it leaves doubt."""
    found = least_curl(scan)
    if found is None:
        return None
    best, other = found
    if best.share > CLEAR_CURL * other.share or best.deviation_deg > CURL_ANGLE_DEG:
        return None
    frames, flip, matrix = _least_change(best.mirrored, prepare.rotation(best.turn_deg), near_field=False)
    # An angle that cannot be told from none is none.
    certain_deg = max(AS_RECORDED_DEG, 3 * best.deviation_deg)
    return Orientation(
        frames=frames,
        flip_positions=flip,
        positions=PositionMap.of(matrix).rounded(certain_deg, SHEAR_AS_RECORDED_DEG, STRETCH_AS_RECORDED),
        deviation=math.radians(best.deviation_deg),
        residual=best.share,
        runner_up=other.share,
        as_read=best.as_read,
        judged_by="curl",
    )


def _least_change(
    mirrored: bool, best: Float[Tensor, "2 2"], *, near_field: bool
) -> tuple[prepare.Orientation, bool, Float[Tensor, "2 2"]]:
    """Of all descriptions of one experiment that with positions nearest to those recorded, then that with the fewest changes.

    Frames laid another way are the same as positions, and object, laid the opposite way. In the far field positions of
    either sign fit.
    """
    laid = prepare.laid("transpose" if mirrored else "identity")
    ways: list[tuple[float, bool, int, prepare.Orientation, Float[Tensor, "2 2"]]] = []
    for rank, frames in enumerate(prepare.ORIENTATIONS):
        for sign in (1.0, -1.0):
            matrix = sign * prepare.laid(frames) @ laid.T @ best
            off = float((matrix - torch.eye(2)).norm())
            ways.append((round(off, 6), near_field and sign < 0, rank, frames, matrix))
    nearest = min(off for off, *_ in ways)
    # As recorded before turned by a right angle, unless that is clearly nearer.
    alike = [way for way in ways if way[0] < nearest + 1e-3]
    _, flip, _, frames, matrix = min(alike, key=lambda way: (way[2] > 0, way[1], way[2]))
    return frames, flip, matrix


def _told(scan: Scan, ranked: list[_Candidate], as_read: float) -> Orientation:
    best = ranked[0]
    frames, flip, matrix = _least_change(best.mirrored, best.matrix, near_field=scan.geometry.near_field)
    deviation = best.trial.deviation
    return Orientation(
        frames=frames,
        flip_positions=flip,
        positions=PositionMap.of(matrix).rounded(AS_RECORDED_DEG, SHEAR_AS_RECORDED_DEG, STRETCH_AS_RECORDED),
        deviation=math.inf if deviation is None else float(deviation.max()),
        residual=best.trial.misfit,
        runner_up=min((c.trial.misfit for c in ranked[1:]), default=math.inf),
        as_read=as_read,
        noise=best.trial.noise,
    )
