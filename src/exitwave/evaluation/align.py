"""Alignment of two images before they are compared: the gauge freedoms, which no diffraction measurement knows, are removed."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.evaluation import registration
from exitwave.evaluation.registration import Image, Pair, Spectrum, Weights, phase_ramp

Freedom = Literal["phase", "scale", "ramp", "shift", "twin"]
"""Global phase, amplitude scale, linear phase ramp, translation, conjugate inversion."""
PTYCHOGRAPHY_GAUGE: tuple[Freedom, ...] = ("phase", "scale", "ramp", "shift")
"""What stays free in a ptychographic reconstruction whose probe was found too."""
STEPS = 15
"""Newton steps at most; three to five are usual."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """An image laid onto a reference, and what had to be changed for it.

    image(r) = scale exp(i phase) M(r - shift), where M(r) = estimate(r) exp(i ramp (r - centre)), centre = n // 2; with
    `twin`, the estimate is first conjugated and inverted through its centre. Pairs are (y, x), pixels of the estimate.
    """

    image: Complex[Tensor, "y x"]
    phase_rad: float
    scale: float
    ramp_rad_px: tuple[float, float]
    shift_px: tuple[float, float]
    twin: bool


def align(
    estimate: Complex[Tensor, "y x"],
    reference: Complex[Tensor, "y x"],
    *,
    weights: Float[Tensor, "y x"] | Bool[Tensor, "y x"] | None = None,
    trusted: Bool[Tensor, "y x"] | None = None,
    remove: Collection[Freedom] = PTYCHOGRAPHY_GAUGE,
    start_shift_px: tuple[float, float] = (0.0, 0.0),
) -> Alignment:
    """Lay a reconstruction onto a reference by the changes that the data cannot see, and tell which they were.

    The shift is searched in whole pixels, up to a quarter of the image; then sub-pixel shift, ramp and complex scale are
    found together. `weights` says where on the reference to compare: a region, or a weight for each pixel. `trusted` is
    the region of the estimate that means anything; a smooth continuation replaces the rest. `start_shift_px` is applied
    even when "shift" is not to be removed. Raises InputError.
    """
    _check(estimate, reference, remove)
    moving, target = _array(estimate), _array(reference)
    region = np.ones(target.shape) if weights is None else _plane(weights, target.shape, "weights").astype(float)
    valid = np.ones(target.shape, bool) if trusted is None else _plane(trusted, target.shape, "trusted region") > 0
    fit = _Fit(moving, target, region, valid, tuple(remove))
    pose, best = fit.solve(start_shift_px, reach=4)
    if "twin" in remove:
        turned = np.abs(registration.twin(valid.astype(complex))) > 0.5
        inverted = replace(fit, moving=registration.twin(moving), trusted=turned)
        other, image = inverted.solve(start_shift_px, reach=2)
        if other.misfit < pose.misfit:
            return _alignment(other, image, twin=True)
    return _alignment(pose, best, twin=False)


def move(image: Complex[Tensor, "y x"], shift_px: tuple[float, float]) -> Complex[Tensor, "y x"]:
    """Translate an image by a fraction of a pixel or many: result(r) = image(r - shift). What comes in is mirrored."""
    return torch.from_numpy(registration.moved(_array(image), np.asarray(shift_px))[0])


@dataclass(frozen=True)
class _Pose:
    """Shift and ramp, the complex scale that goes with them, and the relative squared misfit left."""

    shift: Pair
    ramp: Pair
    factor: complex
    misfit: float


@dataclass(frozen=True)
class _Fit:
    """A moving image, a target that stays, where to compare them, and what may change."""

    moving: Image
    target: Image
    weights: Weights
    trusted: Bool[np.ndarray, "y x"]
    remove: tuple[Freedom, ...]

    def solve(self, start_shift_px: tuple[float, float], reach: int) -> tuple[_Pose, Image]:
        """The best pose and the image in it; shifts are searched up to 1 / reach of the image."""
        start = self._start(np.asarray(start_shift_px, dtype=float))
        if "shift" in self.remove:
            where = self.weights * self._inside(start.shift)
            # What the moving image shows under the weights may have come from a little outside: no mask but trust.
            found = registration.whole_pixel_shift(self.moving, self.target, (where, self.trusted.astype(float)), reach)
            other = self._start(found)
            # Below a pixel the search knows nothing; and where it gains nothing (a flat image) nothing should move.
            if np.abs(found - start.shift).max() >= 1 and other.misfit < 0.99 * start.misfit:
                start = other
        ramp = phase_ramp(self.target.shape, start.ramp)
        smooth = replace(self, moving=registration.filled(self.moving * ramp, self.trusted) * ramp.conj())
        pose = smooth._refine(start)
        image = registration.moved(smooth.moving * phase_ramp(self.target.shape, pose.ramp), pose.shift)[0]
        return pose, pose.factor * image

    def _start(self, shift: Pair) -> _Pose:
        """Ramp and scale for a shift, judged at the nearest whole pixel, where nothing needs interpolation."""
        image, trust = registration.rolled(self.moving, shift), self.weights * self._inside(shift)
        ramp = np.zeros(2)
        if "ramp" in self.remove:
            ramp = registration.ramp_of(trust * image.conj() * self.target)
        pose = self._judge(np.rint(shift), ramp, image * phase_ramp(image.shape, ramp), trust)
        return replace(pose, shift=shift)

    def _inside(self, shift: Pair) -> Float[np.ndarray, "y x"]:
        """1 where the moved image is one that is trusted."""
        inside = registration.rolled(self.trusted, shift).astype(float)
        return inside if np.any(self.weights * inside) else np.ones_like(self.weights)

    def _judge(self, shift: Pair, ramp: Pair, image: Image, trust: Weights) -> _Pose:
        factor = self._factor(image, trust)
        misfit = np.sum(trust * np.abs(factor * image - self.target) ** 2)
        return _Pose(shift, ramp, factor, float(misfit / max(np.sum(trust * np.abs(self.target) ** 2), 1e-300)))

    def _factor(self, image: Image, trust: Weights) -> complex:
        """The complex scale of least misfit, restricted to what may be removed."""
        overlap = complex(np.sum(trust * np.conj(image) * self.target))
        power = float(np.sum(trust * np.abs(image) ** 2))
        if power == 0 or overlap == 0:
            return 1.0
        phase = overlap / abs(overlap) if "phase" in self.remove else 1.0
        return phase * max((overlap / phase).real, 0.0) / power if "scale" in self.remove else phase

    def _refine(self, start: _Pose) -> _Pose:
        """Newton steps on shift and ramp, held within two pixels of the start."""
        if "shift" not in self.remove and "ramp" not in self.remove:
            return self._moved(start, np.zeros(4), self.weights * self._inside(start.shift))[0]
        trust = self.weights * self._inside(start.shift)
        first, image, spectrum = self._moved(start, np.zeros(4), trust)
        pose = first
        for _ in range(STEPS):
            step = self._step(pose, image, spectrum, trust)
            pose, image, spectrum = self._moved(pose, step, trust)
            if np.abs(pose.shift - start.shift).max() > 2:
                return first
            if np.abs(step * [1, 1, *self.target.shape]).max() < 1e-4:
                break
        return pose if pose.misfit <= first.misfit * 1.01 else first

    def _moved(self, pose: _Pose, step: Float[np.ndarray, "4"], trust: Weights) -> tuple[_Pose, Image, Spectrum]:
        shift, ramp = pose.shift + step[:2], pose.ramp + step[2:]
        image, spectrum = registration.moved(self.moving * phase_ramp(self.moving.shape, ramp), shift)
        return self._judge(shift, ramp, image, trust), image, spectrum

    def _step(self, pose: _Pose, image: Image, spectrum: Spectrum, trust: Weights) -> Float[np.ndarray, "4"]:
        """Newton step towards a misfit orthogonal to the target's own derivatives, phase and scale floating along.

        With derivatives of the moving image on both sides (Gauss-Newton) its noise would shorten the steps and draw the
        shift to where little noise lies under the weights.
        """
        factor = self._unbiased(pose.factor, image, trust)
        model = factor * image
        slopes = [factor * slope for slope in registration.slopes(spectrum, image.shape)]
        changes = self._columns(model, slopes, pose.shift)
        tests = self._columns(self.target, list(np.gradient(self.target)), pose.shift)
        tests = [trust * test.conj() for test in tests]
        matrix = np.array([[np.sum(test * change).real for change in changes] for test in tests])
        misfit = np.array([np.sum(test * (self.target - model)).real for test in tests])
        # Rows and columns of unit size; what changes nothing (a flat image moves freely) is left alone.
        size = np.sqrt(np.maximum(np.abs(np.diag(matrix)), np.finfo(float).tiny))
        solution = np.linalg.lstsq(matrix / np.outer(size, size), misfit / size, rcond=1e-6)[0] / size
        step = np.zeros(6)
        step[[name in self.remove for name in ("shift", "shift", "ramp", "ramp", "phase", "scale")]] = solution
        return step[:4] * min(1.0, 0.5 / max(np.abs(step[:2]).max(), 1e-300))

    def _unbiased(self, factor: complex, image: Image, trust: Weights) -> complex:
        """The scale that noise in the moving image does not shrink, as that of least misfit does."""
        agreement = float(np.sum(trust * np.real(np.conj(self.target) * factor * image)))
        if "scale" not in self.remove or agreement <= 0:
            return factor
        return factor * float(np.sum(trust * np.abs(self.target) ** 2)) / agreement

    def _columns(self, image: Image, slopes: list[Image], shift: Pair) -> list[Image]:
        """Change of an image by each freedom: shift y, x, ramp y, x, phase, scale, as far as they may be removed."""
        columns: list[Image] = []
        if "shift" in self.remove:
            columns += [-slope for slope in slopes]
        if "ramp" in self.remove:
            columns += [1j * (r - d) * image for r, d in zip(registration.rulers(image.shape), shift, strict=True)]
        if "phase" in self.remove:
            columns.append(1j * image)
        if "scale" in self.remove:
            columns.append(image)
        return columns


def _alignment(pose: _Pose, image: Image, *, twin: bool) -> Alignment:
    return Alignment(
        image=torch.from_numpy(image),
        phase_rad=float(np.angle(pose.factor)),
        scale=float(abs(pose.factor)),
        ramp_rad_px=(float(pose.ramp[0]), float(pose.ramp[1])),
        shift_px=(float(pose.shift[0]), float(pose.shift[1])),
        twin=twin,
    )


def _check(estimate: Tensor, reference: Tensor, remove: Collection[str]) -> None:
    if estimate.ndim != 2 or estimate.shape != reference.shape:
        raise InputError(
            f"images of shape {tuple(estimate.shape)} and {tuple(reference.shape)}; expected two of the same shape (y, x): "
            "cut them to their common region first"
        )
    unknown = sorted(set(remove) - set(get_args(Freedom)))
    if unknown or isinstance(remove, str):
        raise InputError(f"cannot remove {unknown or remove!r}; give some of {', '.join(get_args(Freedom))} as a tuple")
    for name, image in (("estimate", estimate), ("reference", reference)):
        if not bool(torch.isfinite(torch.view_as_real(image.to(torch.complex128))).all()):
            raise InputError(
                f"the {name} holds values that are not finite; the reconstruction diverged or the file is broken"
            )
    if not bool((reference != 0).any()):
        raise InputError("the reference is zero everywhere; nothing can be compared with it")


def _array(image: Complex[Tensor, "y x"]) -> Image:
    return image.detach().cpu().to(torch.complex128).numpy()


def _plane(plane: Tensor, shape: tuple[int, ...], name: str) -> np.ndarray:
    if tuple(plane.shape) != shape or not bool((plane > 0).any()):
        raise InputError(
            f"{name} of shape {tuple(plane.shape)}, {int((plane > 0).sum())} pixels of it above zero; expected "
            f"shape {shape} and some pixels to compare"
        )
    return plane.detach().cpu().numpy()
