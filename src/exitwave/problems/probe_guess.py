"""The first probe, from the mean pattern and a few frames."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float, Int
from scipy import fft, ndimage
from torch import Tensor

from exitwave.data import prepare
from exitwave.data.measurement import M, Measurement
from exitwave.data.optics import ProbeOptics
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.progress import in_parts
from exitwave.data.scan import Scan
from exitwave.data.untrusted_pixels import filled_from_neighbours
from exitwave.physics.fourier import ifft2, to_centre, to_corner
from exitwave.physics.kernels.reference import gather, intensity, scatter_add_
from exitwave.physics.probe_forming import formed_probe, round_aperture
from exitwave.physics.propagation import Propagator, propagator
from exitwave.problems.shadow_motion import shadow_motion

FRAMES = 48
"""Neighbouring frames on which defoci are tried."""
LEAST_PX, MOST_PX = 48, 96
"""Rows and columns that trials keep of the frames, if these have as many; larger frames are binned."""
EPOCHS, FEW_EPOCHS = 12, 8
"""Of a trial, and as many as are enough to see which defoci are worth it."""
LEAST_FRAMES = 16
"""Frames below which curvatures of a near-field beam are not tried."""
PROBE_RESTS = 4
"""Epochs of a trial before the probe moves too."""
REACHES = 18
"""Defoci tried on either side of the focus, up to a probe that fills the frame."""
NEAR_MOST_PX = 64
"""The same as `MOST_PX` in the near field, whose pixels are seen by every frame."""
MAGNIFICATIONS, FACTOR = 7, 1.1
"""Magnifications of a near-field shadow tried on either side of the stated one, and their ratio."""
CLEARLY = 0.9
"""Cost over that of a flat beam below which a near-field beam is curved."""


@torch.no_grad()
def guess_probe(
    scan: Scan, mean_pattern: Float[Tensor, "y x"], *, device: torch.device | str = "cpu"
) -> Complex[Tensor, "y x"]:
    """The probe behind the mean pattern. Averaged over the scan, the sample's own scattering is mostly washed out.

    Near field: the mean amplitude taken back to the sample, with a flat phase unless frames are clearly better explained by
    a curved one, which magnifies the sample's shadow. Far field: the mean amplitude is the aperture, unless a semi-angle is
    stated; its defocus is the one of many that best fits some neighbouring frames and predicts others among them, unless
    defocus or aberrations are stated or, of electrons, the sample's shadow tells it.
    """
    measured = filled_from_neighbours(mean_pattern, scan.mask).sqrt()
    if scan.geometry.near_field:
        return _near_field_probe(scan, measured, device)
    amplitude = aperture_amplitude(scan, measured)
    if (optics := _known_phase(scan, mean_pattern)) is not None:
        return formed_probe(amplitude, optics, scan.geometry).to(device)
    aperture = Aperture(amplitude, scan.geometry.detector_pixel_m)
    trials = _Trials.of(scan, aperture, device)
    # Pixels of binned frames are wider.
    bend = trials.best_bend() * (trials.edge_px / aperture.edge_px()) ** 2
    return to_centre(ifft2(to_corner(aperture.bent(bend)).to(device)))


def _known_phase(scan: Scan, mean_pattern: Float[Tensor, "y x"]) -> ProbeOptics | None:
    """Defocus and aberrations as they are stated, else as the shadow tells the defocus: electrons scatter too little for trials."""
    geometry = scan.geometry
    if geometry.optics is not None and geometry.optics.phase_known:
        return geometry.optics
    motion = shadow_motion(scan, mean_pattern) if geometry.particle == "electron" else None
    defocus_m = None if motion is None else motion.defocus_m(geometry)
    return None if defocus_m is None else ProbeOptics(defocus_m=defocus_m)


def aperture_amplitude(scan: Scan, measured: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """The aperture on the detector: evenly lit up to the semi-angle that is stated, else the bright part of what is measured."""
    optics = scan.geometry.optics
    if optics is None or optics.semi_angle_rad is None:
        return bright_part(measured)
    return round_aperture(optics.semi_angle_rad, scan.geometry, scan.frame_shape).to(measured.dtype)


def _near_field_probe(scan: Scan, measured: Float[Tensor, "y x"], device: torch.device | str) -> Complex[Tensor, "y x"]:
    """The mean amplitude with the curvature that magnifies shadows as frames show them, taken back to the sample."""
    beam = Aperture(measured, scan.geometry.detector_pixel_m)
    magnification = 1.0
    if len(scan) >= LEAST_FRAMES and bool((measured > 0).any()):
        magnification = _Trials.of(scan, beam, device).best_magnification()
    wave = beam.bent(_bend_that_magnifies(scan, magnification)).to(device)
    return propagator(scan.geometry, scan.frame_shape, device).backpropagate(wave)


def _bend_that_magnifies(scan: Scan, magnification: float) -> float:
    """The bend of a near-field wave at the detector whose shadows are so many times larger than those of a flat wave."""
    # A bend b moves the ray that arrives at r by b r wavelength z / pixel, hence to a place 1 - b wavelength z / pixel^2
    # times as far out as it left the sample.
    geometry = scan.geometry
    fresnel_px2 = geometry.wavelength_m * geometry.effective_distance_m / scan.object_pixel_m[0] ** 2
    return (1 - 1 / magnification) / fresnel_px2


@dataclass(frozen=True, eq=False)
class Aperture:
    """The aperture of a probe as the far-field detector sees it."""

    amplitude: Float[Tensor, "y x"]
    """Centre at [h // 2, w // 2]."""
    pixel_m: tuple[float, float]

    def bent(self, bend: float) -> Complex[Tensor, "y x"]:
        """The wave in the aperture with the phase pi bend r^2, r in detector pixels; its focus is moved along the beam."""
        return torch.polar(self.amplitude.to(torch.float64), math.pi * bend * self._square_radius()).to(torch.complex64)

    def defocused(self, reach_px: float) -> Complex[Tensor, "y x"]:
        """The probe out of focus by as much as moves its outermost rays by so many object pixels."""
        return to_centre(ifft2(to_corner(self.bent(reach_px / (self.amplitude.shape[0] * self.edge_px())))))

    def edge_px(self) -> float:
        """Radius within which the aperture holds 95 % of its photons, detector pixels."""
        radius = self._square_radius().sqrt().flatten()
        order = radius.argsort()
        held = self.amplitude.square().flatten()[order].double().cumsum(dim=0)
        return max(float(radius[order][int((held < 0.95 * held[-1]).sum().clamp(max=len(order) - 1))]), 0.5)

    def _square_radius(self) -> Float[Tensor, "y x"]:
        height, width = self.amplitude.shape
        rows = torch.arange(height, dtype=torch.float64)[:, None] - height // 2
        columns = (torch.arange(width, dtype=torch.float64) - width // 2) * (self.pixel_m[1] / self.pixel_m[0])
        return rows.square() + columns.square()


@dataclass(frozen=True, eq=False)
class _Trials:
    """The middle of a scan, on which defoci are tried: frames cut down to the aperture and some scattering around it."""

    scan: Scan
    """The frames nearest to the middle of the scan, sorted by their distance from it."""
    propagator: Propagator
    amplitudes: Float[Tensor, "frame y x"]
    """In detector order."""
    trusted: Float[Tensor, "y x"]
    corners: Int[Tensor, "frame 2"]
    """Where the windows of the frames lie in the object, whole pixels."""
    aperture: Aperture
    edge_px: float
    """Radius of the aperture, pixels of the trial's frames."""

    @classmethod
    def of(cls, scan: Scan, aperture: Aperture, device: torch.device | str) -> "_Trials":
        """Cut and bin the frames and the aperture alike."""
        positions = scan.positions_m
        nearest = (positions - positions.median(dim=0).values).square().sum(dim=1).argsort()[:FRAMES]
        edge_px = aperture.edge_px()
        wanted = max(LEAST_PX, 16 * math.ceil(2.5 * edge_px / 16))
        most = NEAR_MOST_PX if scan.geometry.near_field else MOST_PX
        binning = math.ceil(min(wanted, max(scan.frame_shape)) / most)
        part = _cut_down(prepare.select(scan, nearest), wanted, binning)
        whole = Measurement(patterns=ArrayPatterns(aperture.amplitude.square()[None]), geometry=scan.geometry)
        light = _cut_down(whole, wanted, binning).frames(slice(None))[0].sqrt()
        counts = torch.where(part.mask, part.frames(slice(None)), 0.0).nan_to_num(0.0, 0.0, 0.0).clamp(min=0)
        places = part.positions_m / torch.tensor(part.object_pixel_m, dtype=torch.float64)
        detector = propagator(part.geometry, part.frame_shape, device)
        return cls(
            scan=part,
            propagator=detector,
            amplitudes=detector.to_detector_order(counts.sqrt()).to(device),
            trusted=detector.to_detector_order(part.mask).to(device, torch.float32),
            corners=(places - places.amin(dim=0)).round().to(torch.int64),
            aperture=Aperture(light, part.geometry.detector_pixel_m),
            edge_px=edge_px / binning,
        )

    def best_bend(self) -> float:
        """The bend of the aperture's wave that fits and predicts frames best, for pixels of the trial's frames.

        First every other defocus for few epochs, then the best with their neighbours for more, then what lies in between.
        """
        spacing = 0.5 * min(self.trusted.shape) / REACHES
        ends = [spacing * step for step in range(2, REACHES + 1, 2)]
        rough = self._costs([0.0, 1.5, -1.5, *ends, *(-end for end in ends)], FEW_EPOCHS)
        best = sorted(rough, key=rough.__getitem__)[:3]
        near = {reach + side for reach in best for side in (0.0, spacing, -spacing) if abs(reach + side) <= ends[-1]}
        cost = self._costs(sorted(near), EPOCHS)
        middle = min(cost, key=cost.__getitem__)
        cost |= self._costs([middle + part * spacing for part in (-0.6, -0.3, 0.3, 0.6)], EPOCHS)
        return self._bend(min(cost, key=cost.__getitem__))

    def best_magnification(self) -> float:
        """How many times larger than stated near-field shadows are by the curved beam that fits and predicts frames best; 1
        unless a curved beam is clearly better."""

        def tried(powers: list[float]) -> dict[float, float]:
            bends = {FACTOR**power: _bend_that_magnifies(self.scan, FACTOR**power) for power in powers}
            steps = in_parts("finding the probe", list(bends.items()))
            return {magnification: self._cost(self._probe(bend), FEW_EPOCHS) for magnification, bend in steps}

        cost = tried([float(power) for power in range(-MAGNIFICATIONS, MAGNIFICATIONS + 1)])
        flat = cost[1.0]
        for sides in ((-0.6, -0.3, 0.3, 0.6), (-0.15, 0.15)):
            middle = math.log(min(cost, key=cost.__getitem__), FACTOR)
            cost |= tried([middle + side for side in sides])
        best = min(cost, key=cost.__getitem__)
        return best if cost[best] < CLEARLY * flat else 1.0

    def _costs(self, reaches: list[float], epochs: int) -> dict[float, float]:
        steps = in_parts("finding the probe", reaches)
        return {reach: self._cost(self._probe(self._bend(reach)), epochs) for reach in steps}

    def _bend(self, reach_px: float) -> float:
        """The bend that moves the outermost rays by so many pixels of the trial's object."""
        return reach_px / (self.trusted.shape[0] * self.edge_px)

    def _cost(self, probe: Complex[Tensor, "1 y x"], epochs: int) -> float:
        """Cost of a probe: misfit of fitted frames times misfit of predicted ones.

        Object, then probe come from a few gradient steps on the fitted frames. The fit alone would favour small probes,
        whose frames do not overlap and can be fitted one by one; the prediction alone favours wide ones, which cover the
        places between the frames. The right probe does well in both, and the further it is let go the more it stands out.
        """
        fitted, predicted = _fitted_and_predicted(len(self.amplitudes))
        shape, at = (self.trusted.shape[0], self.trusted.shape[1]), self.corners[fitted]
        extent = (self.corners.amax(dim=0) + torch.tensor(shape)).tolist()
        obj = torch.ones(1, *extent, dtype=torch.complex64, device=probe.device)
        misfit, lit = 0.0, torch.zeros_like(obj.real)
        for epoch in range(epochs):
            patches = gather(obj, at, shape)
            change, misfit = self._pull(patches * probe, fitted)
            if epoch == 0 or epoch > PROBE_RESTS:
                lit = torch.zeros_like(obj.real)
                scatter_add_(lit, intensity(probe[None]).expand(len(fitted), -1, -1)[:, None], at)
                lit += 0.02 * lit.max()
            update = torch.zeros_like(obj)
            scatter_add_(update, probe.conj() * change, at)
            obj += update / lit
            if epoch >= PROBE_RESTS:
                probe = probe + (patches.conj() * change).sum(dim=0) / intensity(patches).sum(dim=0).max()
        return misfit * self._pull(gather(obj, self.corners[predicted], shape) * probe, predicted)[1]

    def _probe(self, bend: float) -> Complex[Tensor, "1 y x"]:
        """The probe of this bend, with as many photons as frames have in the mean."""
        wave = self.propagator.to_detector_order(self.aperture.bent(bend)).to(self.amplitudes.device)
        seen = float((wave.abs().square() * self.trusted).sum())
        power = float(self.amplitudes.square().sum()) / len(self.amplitudes)
        probe = self.propagator.backpropagate(wave * math.sqrt(power / max(seen, 1e-30)))[None]
        return probe if self.scan.geometry.near_field else to_centre(probe)

    def _pull(
        self, waves: Complex[Tensor, "batch 1 y x"], frames: Int[Tensor, " batch"]
    ) -> tuple[Complex[Tensor, "batch 1 y x"], float]:
        """How exit waves must change to agree with the measured modulus, and their mean misfit."""
        at_detector = self.propagator.propagate(waves)
        # |wave| from its parts: several times as fast as abs, which guards against overflow.
        modulus = intensity(at_detector).sqrt_()
        short = torch.sub(self.amplitudes[frames], modulus).mul_(self.trusted)
        misfit = float(short.square().sum()) / len(frames)
        at_detector *= short.div_(modulus.clamp_(min=1e-12))[:, None]
        return self.propagator.backpropagate(at_detector), misfit


def _fitted_and_predicted(count: int) -> tuple[Int[Tensor, " fitted"], Int[Tensor, " predicted"]]:
    """Frames to fit, and frames in the midst of them to predict."""
    inner = torch.zeros(count, dtype=torch.bool)
    # The trial's frames are sorted by their distance from its middle.
    inner[: max(count // 2, 1) : 3] = True
    frames = torch.arange(count)
    return frames[~inner], frames[inner]


def _cut_down(measurement: M, wanted: int, binning: int) -> M:
    """The middle of the frames, `wanted` pixels wide at most and quickly transformed, binned."""
    height, width = (_length(length, wanted, binning) for length in measurement.frame_shape)
    if (height, width) != measurement.frame_shape:
        measurement = prepare.crop(measurement, (height, width))
    return prepare.bin(measurement, binning) if binning > 1 else measurement


def _length(length: int, wanted: int, binning: int) -> int:
    """Pixels to keep of so many: what is left after binning has small prime factors only."""
    left = min(length, wanted) // binning
    while fft.next_fast_len(left) != left:
        left -= 1
    return left * binning


def bright_part(amplitude: Float[Tensor, "y x"]) -> Float[Tensor, "y x"]:
    """Suppress the sample's scattering around the aperture: what is below 5 % of the bright level is set to zero."""
    soft = torch.from_numpy(ndimage.gaussian_filter(amplitude.numpy(), 1.0))
    bright = soft.flatten().quantile(0.995) if soft.numel() < 2**24 else soft.max()
    return torch.where(soft > 0.05 * bright, amplitude, 0.0)
