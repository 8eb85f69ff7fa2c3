"""The examination of a rocking curve: angles, pixels, frames, monitor, peak, noise, aliens, and the cut around the peak."""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.aliens import Apart, light_apart
from exitwave.data.beam import quick_length
from exitwave.data.dark_pixels import dark_pixels
from exitwave.data.errors import InputError
from exitwave.data.finding import Action, Finding
from exitwave.data.prepare.rocking_angles import series
from exitwave.data.prepare.rocking_framing import around_voxel
from exitwave.data.prepare.rocking_masking import without_voxels
from exitwave.data.rocking_curve import RockingCurve
from exitwave.data.statistics import scan_statistics
from exitwave.data.volume import oversampling, peak_voxel, quick_even, reach_px, volume, wild_voxels
from exitwave.problems.examination.course import Course, Examination, Wishes, course_of
from exitwave.problems.examination.frames_course import specimens
from exitwave.problems.examination.pixels import Bad, suspect_pixels
from exitwave.problems.examination.rocking_noise import noise_threshold
from exitwave.problems.examination.rocking_peak import peak_findings, sampling_findings, span_findings
from exitwave.problems.examination.words import counted, frame_list

STEADY = 0.01
"""Relative range of a monitor that is no reason to scale frames."""
WILD_MONITOR = 5.0
"""Ratio of its largest and smallest value from which on a monitor is not believed."""
SMALL = 2**21
"""Voxels of an array that is phased in minutes: it is only centred, not cut."""
USUAL = 2**22
"""And of one that still is in reasonable time."""
SPILT = (1e-4, 3e-4, 1e-3)
"""Shares of the photons that may fall outside the cut: the first that leaves no more than a usual array, else the last."""
WORTH = 0.7
"""Of the voxels: a cut that leaves more is not worth it."""
OFF_CENTRE = 16
"""Part of an axis by which a peak may stand beside the middle of an array that needs no cut else."""
CHOSEN = ("crop:", "crop_frames:", "pad:", "bin:", "bin_frames:", "centre_peak:", "resample:", "cut around the beam:")
"""Preparation after which the size of the array is the user's own."""
FEWEST_PHOTONS, FEWEST_OF_MOST = 50.0, 0.02
"""In both neighbours of a frame without any, at least, for it to be a fault; and their share of the brightest frame's."""


class RockingCourse(Course):
    """The examination of a rocking curve."""

    def __init__(self, curve: RockingCurve, wishes: Wishes) -> None:
        super().__init__(curve, wishes)
        self.curve = curve
        self.apart: list[Apart] = []

    def require_known(self) -> None:
        below = self.wishes.noise_threshold
        if below is not None and not 0 <= below < math.inf:
            raise InputError(f"noise_threshold is {below:g}; expected a number of counts, 0 for none")

    def conducted(self) -> Examination:
        self._drop(self.wishes.drop_frames)
        assert isinstance(self.measurement, RockingCurve)
        self.curve = self.measurement
        self.angles()
        self.pixels()
        self.frames()
        self.monitor()
        if bool((volume(self.curve) > 0).any()):
            self.peak()
            self.noise()
            self.aliens()
            self.cut()
            self.findings += sampling_findings(oversampling(volume(self.curve), self.curve.trusted))
        self.measurement = self.curve
        return self._examined(scan_statistics(self.curve))

    def angles(self) -> None:
        """Order the frames by angle, each angle once, none missing."""
        try:
            found = series(self.curve.angles_rad)
        except InputError as error:
            self._tell("same-angle", str(error), "refused")
            return
        self.findings += span_findings(self.curve)
        step = f"steps of {math.degrees(abs(found.step_rad)):.3g}°"
        if found.uneven or found.missing > len(self.curve):
            told = f"the angles lie on no even series ({step}, {found.missing} missing)"
            self._tell("uneven-angles", told, "refused", "check the angles, or --prepare select=... what is even")
            return
        if found.unsorted:
            self._tell("unsorted-angles", "frames sorted by their angle", "cured")
        if found.repeated:
            told = f"{counted(found.repeated, 'frame')} averaged with others of the same angle"
            self._tell("repeated-angles", told, "cured")
        if found.missing:
            there = set(found.places)
            missing = frame_list([place for place in range(max(there) + 1) if place not in there])
            told = f"{counted(found.missing, 'angle')} missing in a series of {step}: untrusted frames put there ({missing})"
            self._tell("missing-angles", told, "cured")
        self.curve = prepare.even_angles(self.curve)

    def pixels(self) -> None:
        """Mask pixels that hold no counts, and single voxels that cannot be light."""
        for found in suspect_pixels(specimens(self.curve).frames, self.curve.mask):
            self._mask_pixels(found)
        frames = self.curve.frames(slice(None)).cpu()
        lost = self.curve.trusted & ~frames.isfinite()
        if bool(lost.any()):
            self._hide("lost-voxels", lost, "not finite (NaN or infinite)")
        counts = volume(self.curve)
        dark = dark_pixels((counts > 0).sum(dim=0), len(self.curve), self.curve.mask)
        self._mask_pixels(Bad("dead-pixels", dark.single, "dead: dark in the midst of light"))
        self._mask_pixels(Bad("gaps", dark.lines | dark.areas, "a gap or shadow in the midst of light"))
        wild = wild_voxels(counts, self.curve.trusted)
        if bool(wild.any()):
            self._hide("wild-voxels", wild, "far brighter than all around them in one frame, as cosmic rays leave them")

    def frames(self) -> None:
        """Distrust frames without a photon between lit ones."""
        photons = volume(self.curve).sum(dim=(1, 2), dtype=torch.float64)
        measured = self.curve.trusted.flatten(1).any(dim=1)
        enough = max(FEWEST_PHOTONS, FEWEST_OF_MOST * float(photons.max()))
        beside = torch.minimum(_last_lit(photons), _last_lit(photons.flip(0)).flip(0))
        empty = measured & (photons <= 0) & (beside >= enough)
        for number in self.wishes.keep_frames:
            empty[min(number, len(empty) - 1)] = False
        if bool(empty.any()):
            hidden = empty[:, None, None].expand(*self.curve.patterns.shape)
            self.curve = without_voxels(self.curve, hidden)
            numbers = frame_list(empty.nonzero().flatten().tolist())
            told = f"{counted(int(empty.sum()), 'frame')} without a photon between lit ones untrusted: {numbers}"
            self._tell("empty-frames", told, "cured")

    def monitor(self) -> None:
        """Scale frames to the same beam where it varied."""
        monitor = self.curve.monitor
        if monitor is None:
            return
        least, most = float(monitor.min()), float(monitor.max())
        if not (least > 0 and most < WILD_MONITOR * least):
            told = f"the monitor runs from {least:.4g} to {most:.4g}: not believed, frames are not scaled by it"
            self._tell("wild-monitor", told, "warned", "check which channel it is, or --prepare normalise_by_monitor")
        elif most - least > STEADY * float(monitor.mean()):
            self.curve = prepare.normalise_by_monitor(self.curve)
            told = (
                f"the beam varied by {100 * (most - least) / float(monitor.mean()):.2g} %: frames scaled by the monitor"
            )
            self._tell("varying-beam", told, "cured")

    def peak(self) -> None:
        """Look at the Bragg peak, and for light apart from it."""
        counts, trusted = volume(self.curve), self.curve.trusted
        peak, sampled = peak_voxel(counts, trusted), oversampling(counts, trusted)
        self.apart = light_apart(counts, trusted, peak, sampled)
        for each in self.apart:
            if each.alien:
                counts = torch.where(each.voxels, 0.0, counts)
        self.findings += peak_findings(counts, trusted, peak, sampled, self.apart)

    def noise(self) -> None:
        """Set counts to zero that say nothing."""
        stated = self.wishes.noise_threshold
        counts = volume(self.curve)
        done = any(step.startswith("threshold") for step in self.curve.provenance.get("preparation", ()))
        below = noise_threshold(counts, self.curve.trusted) if stated is None and not done else stated or 0.0
        if not below:
            return
        share = float(counts[counts < below].sum(dtype=torch.float64) / counts.sum(dtype=torch.float64))
        self.curve = prepare.threshold(self.curve, below)
        told = f"counts below {below:.4g} set to zero, {100 * share:.2g} % of all"
        why = ": they are background; --noise-threshold 0 keeps them" if stated is None else ", as was asked for"
        self._tell("noise", told + why, "cured")

    def aliens(self) -> None:
        """Distrust what other crystals scatter."""
        found = [each for each in self.apart if each.alien]
        if not found or self.wishes.keep_aliens:
            return
        hidden = torch.zeros(self.curve.patterns.shape, dtype=torch.bool)
        for each in found:
            hidden |= each.voxels
        hidden &= self.curve.trusted
        self.curve = without_voxels(self.curve, hidden)
        self.masked["aliens"] += int(hidden.sum())
        places = ", ".join(str(each.place) for each in found[:3]) + " ..." * (len(found) > 3)
        told = (
            f"{counted(len(found), 'alien')} (scattering of another crystal) untrusted, {int(hidden.sum())} voxels with "
            f"{sum(each.photons for each in found):.4g} photons around {places} (frame, row, column); --keep-aliens keeps them"
        )
        self._tell("aliens", told, "cured")

    def cut(self) -> None:
        """Bring the peak into the middle of an array that holds the pattern and is transformed quickly."""
        done = self.curve.provenance.get("preparation", ())
        if any(step.startswith(CHOSEN) for step in done):
            return
        counts = volume(self.curve)
        peak, old = peak_voxel(counts, self.curve.trusted), self.curve.patterns.shape
        shape = _shape_around(counts, peak)
        quick = all(quick_even(n) == n for n in old)
        # Where strain splits the peak, its brightest spot is not its middle.
        centred = all(abs(at - n // 2) <= max(1, n // OFF_CENTRE) for at, n in zip(peak, old, strict=True))
        if quick and centred and math.prod(shape) > WORTH * math.prod(old):
            return
        self.curve = around_voxel(self.curve, peak, shape)
        told = f"cut from {_size(old)} to {_size(shape)} voxels around the peak at {peak} (frame, row, column)"
        lost = 1 - float(volume(self.curve).sum(dtype=torch.float64) / counts.sum(dtype=torch.float64))
        told += (
            f", which leaves out {100 * max(lost, 0.0):.2g} % of the photons; --prepare centre_peak sets another size"
        )
        self._tell("cut-around-peak", told, "cured")

    def _tell(self, name: str, told: str, action: Action, cure: str = "") -> None:
        self.findings.append(Finding(name, told, action, cure))

    def _mask_pixels(self, found: Bad) -> None:
        if bool(found.pixels.any()):
            self.curve = replace(self.curve, mask=self.curve.mask & ~found.pixels)
            self.findings.append(found.finding)
            self.masked[found.name] += int(found.pixels.sum())

    def _hide(self, name: str, hidden: torch.Tensor, what: str) -> None:
        self.curve = without_voxels(self.curve, hidden)
        self.masked[name] += int(hidden.sum())
        self._tell(name, f"{counted(int(hidden.sum()), 'voxel')} untrusted, {what}", "cured")


def _last_lit(photons: Float[Tensor, " frame"]) -> Float[Tensor, " frame"]:
    """Photons in the last frame up to each one that has any; zero where none has."""
    at = torch.where(photons > 0, torch.arange(len(photons)), -1).cummax(dim=0).values
    return torch.where(at >= 0, photons[at], 0.0)


def _shape_around(counts: Float[Tensor, "frame y x"], peak: tuple[int, int, int]) -> tuple[int, int, int]:
    """Size of an array around the peak that holds the pattern and is transformed quickly."""
    most = frames, rows, columns = [quick_length(n) for n in counts.shape]
    shape = frames, rows, columns
    for spilt in SPILT if counts.numel() > SMALL else ():
        frames, rows, columns = (
            min(quick_even(2 * r), n) for r, n in zip(reach_px(counts, peak, spilt), most, strict=True)
        )
        shape = frames, rows, columns
        if math.prod(shape) <= USUAL:
            break
    return shape


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


@course_of.register
def _(measurement: RockingCurve, wishes: Wishes) -> RockingCourse:
    return RockingCourse(measurement, wishes)
