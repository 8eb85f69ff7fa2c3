"""PtyLab: mPIE with its default settings, and its position correction where positions are wrong.

Its windows lie on whole pixels, whatever the positions. Without its upsampling it knows no mask: behind the gaps of the
detector the modelled wave is kept. Further probe modes are weak copies of the first with noise, made orthogonal every 10
epochs, and the power of the probe is held, as in its examples (else the image is lost after 100 epochs). The radius of its
position correction is the best of some tried on another drawing.
"""

import contextlib
import logging
import os

import numpy as np
from PtyLab import Engines, ExperimentalData, Params, Reconstruction
from PtyLab.Monitor.Monitor import DummyMonitor

import exchange

RADIUS_PX = 2
"""Of its search for a better position. With its usual 1 its steps of up to a pixel never settle: 0.9 pixels remain."""


class _EnoughError(Exception):
    """The budget is spent; the engine has no other way to be told."""


def main() -> None:
    job = exchange.read(("mPIE",))
    logging.disable(logging.WARNING)
    np.random.seed(0)  # noqa: NPY002  its order of positions and its momentum draw from numpy's global stream
    engine = build(job)
    engine.numIterations = job.most_epochs
    clock = job.epochs()

    def watch(loop: int, reconstruction: Reconstruction) -> None:
        job.keep(
            loop + 1,
            lambda: np.asarray(reconstruction.object).squeeze()[tuple(map(slice, job.object_shape))],
            lambda: reconstruction.encoder_corrected / job.object_pixel_m + middle(job),
        )
        if next(clock, None) is None:
            raise _EnoughError

    # It prints a progress bar for every frame. Preparing the run counts as its first epoch.
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.suppress(_EnoughError):
        next(clock)
        engine.reconstruct(vis_after_each_iteration=watch)
    told = f", {job.modes} modes, position correction with radius {RADIUS_PX}" if job.refine_positions else ""
    job.save("PtyLab", f"mPIE, default settings: steps 0.25, alpha 0.1, friction 0.7, feedback 0.3{told}")


class MaskedPIE(Engines.mPIE):
    """The package's engine for a detector with gaps."""

    trusted: np.ndarray
    _modelled: np.ndarray

    def object2detector(self) -> None:
        super().object2detector()
        self._modelled = self.reconstruction.ESW

    def detector2object(self) -> None:
        self.reconstruction.ESW = np.where(self.trusted, self.reconstruction.ESW, self._modelled)
        super().detector2object()


def side(job: exchange.Exchange) -> int:
    """Pixels of its object array, which is square."""
    return 2 * ((max(job.object_shape) + 1) // 2)


def middle(job: exchange.Exchange) -> int:
    """Where the window of encoder position 0 begins."""
    return side(job) // 2 - job.patterns.shape[-1] // 2


def build(job: exchange.Exchange) -> Engines.mPIE:
    """The engine and its state; encoder positions are relative to the centre of the object array."""
    data = ExperimentalData("test:nodata")
    data.ptychogram = job.patterns
    data.wavelength, data.zo, data.dxd = job.wavelength_m, job.distance_m, job.detector_pixel_m
    data.encoder = (job.positions_px - middle(job)) * job.object_pixel_m
    data._setData()
    params = Params()
    params.gpuSwitch = False
    params.positionCorrectionSwitch, params.positionCorrectionSwitch_radius = job.refine_positions, RADIUS_PX
    params.orthogonalizationSwitch = params.probePowerCorrectionSwitch = job.modes > 1
    state = Reconstruction(data, params)
    state.No, state.npsm = side(job), job.modes
    state.initializeObjectProbe()
    state.object = np.ones_like(state.object)
    state.probe = (job.probe * shares(job)).reshape(state.probe.shape).astype(state.probe.dtype)
    if not np.array_equal(state.positions, job.corners_px):
        raise SystemExit(f"PtyLab places the windows elsewhere: {state.positions[:3]} for {job.corners_px[:3]}")
    if job.mask.all():
        return Engines.mPIE(state, data, params, DummyMonitor())
    engine = MaskedPIE(state, data, params, DummyMonitor())
    engine.trusted = job.mask
    return engine


def shares(job: exchange.Exchange) -> np.ndarray:
    """What each mode has of the first guess, (mode, y, x): all of it, then little with noise."""
    further = 0.2 * (1 + 0.5 * np.random.randn(job.modes - 1, *job.probe.shape))  # noqa: NPY002
    whole = np.concatenate([np.ones((1, *job.probe.shape)), further])
    return whole / np.sqrt(1 + 0.2**2 * (job.modes - 1))


if __name__ == "__main__":
    main()
