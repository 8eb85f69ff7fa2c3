"""The probe at the sub-pixel place of each frame, for passes over many frames."""

from dataclasses import dataclass, field

from jaxtyping import Complex, Float, Int
from torch import Tensor

from exitwave.physics.fourier import fft2, ifft2, shift_factors
from exitwave.physics.interpolation import Interpolation
from exitwave.physics.kernels import dispatch as kernels
from exitwave.physics.kernels.reference import TAPS, FrameProbes, FrameWaves, Weights
from exitwave.physics.photon_noise import amplitude_variance
from exitwave.problems.ptychography import PtychographyProblem

LARGEST_ERROR = 3e-2
"""Of a probe moved by interpolation, over its norm: one photon in 1,000 misplaced."""
SHARE_OF_NOISE = 0.05
"""The same in squares, as a share of what photon noise leaves of a perfect fit: bright data want better interpolation."""


@dataclass(eq=False)
class ProbeShifts:
    """Moves one probe to each frame's sub-pixel place, and what frames ask of it back.

    By interpolation while its error for the probe as it is stays within `tolerance`, else by exact shifts in Fourier space,
    which take two more transforms a frame: for probes with power up to the largest frequencies of the frame, and on a GPU.
    """

    shift_px: Float[Tensor, "frame 2"]
    tolerance: float
    """Largest root mean square error of a moved probe over its root mean square."""
    weights: Weights | None = field(init=False, default=None)
    """None where the shift is done in Fourier space."""
    _passed: int | None = field(init=False, default=None)
    """Frames since the weights were fitted to the probe."""
    _factors: tuple[Tensor, Tensor] | None = field(init=False, default=None)
    _spectrum: Tensor | None = field(init=False, default=None)

    @classmethod
    def of(cls, problem: PtychographyProblem, shift_px: Float[Tensor, "frame 2"]) -> "ProbeShifts":
        """With an error that the photon noise of these frames hides."""
        pattern = problem.model.to_detector_order(problem.statistics.mean_pattern).to(problem.device)
        noise = float((amplitude_variance(pattern) * problem.trusted).sum()) * len(problem) / max(problem.power, 1e-300)
        return cls(shift_px.detach(), min(LARGEST_ERROR, (SHARE_OF_NOISE * noise) ** 0.5))

    def prepare(self, probe: Complex[Tensor, "mode y x"], frames: int) -> None:
        """Make ready for a pass of so many frames with this probe, which the weights follow once an epoch."""
        if self._passed is None or self._passed + frames > len(self.shift_px):
            self._passed = 0
            self.weights = self._fitted(probe)
        self._passed += frames
        self._probe = probe
        if self.weights is None:
            self._spectrum = fft2(probe)
            if self._factors is None:
                rows, columns = shift_factors((probe.shape[-2], probe.shape[-1]), self.shift_px)
                self._factors = rows.to(probe.device), columns.to(probe.device)

    def probes(self, frames: Int[Tensor, " batch"], spare: FrameWaves, out: FrameProbes) -> FrameProbes:
        """The probe in these frames, written to `out`; `spare` is memory for their spectra."""
        if self.weights is not None:
            return kernels.interpolate(self._probe, self.weights, frames, out)
        assert self._factors is not None
        assert self._spectrum is not None
        rows, columns = self._factors
        return ifft2(kernels.modulate(self._spectrum, rows[frames], columns[frames], spare), out)

    def add_back(
        self,
        change: FrameWaves,
        frames: Int[Tensor, " batch"],
        spare: FrameWaves,
        total: Complex[Tensor, "mode y x"],
    ) -> None:
        """total += changes of these frames' probes, moved back; of the spectrum of the total where `weights` is None."""
        if self.weights is not None:
            kernels.interpolate_adjoint_add_(change, self.weights, frames, total)
            return
        assert self._factors is not None
        rows, columns = self._factors
        kernels.demodulate_add_(fft2(change, spare), rows[frames], columns[frames], total)

    def _fitted(self, probe: Tensor) -> Weights | None:
        if probe.device.type != "cpu" or min(probe.shape[-2:]) < TAPS:
            return None
        found = Interpolation.of(fft2(probe))
        return found.weights(self.shift_px) if found.error <= self.tolerance else None
