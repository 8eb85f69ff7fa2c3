"""PtyLab: mPIE with its default settings."""

import contextlib
import logging
import os

import numpy as np
from PtyLab import Engines, ExperimentalData, Params, Reconstruction
from PtyLab.Monitor.Monitor import DummyMonitor

import exchange


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
        job.keep(loop + 1, lambda: np.asarray(reconstruction.object).squeeze()[tuple(map(slice, job.object_shape))])
        if next(clock, None) is None:
            raise _EnoughError

    # It prints a progress bar for every frame. Preparing the run counts as its first epoch.
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.suppress(_EnoughError):
        next(clock)
        engine.reconstruct(vis_after_each_iteration=watch)
    job.save("PtyLab", "mPIE, default settings: steps 0.25, alpha 0.1, friction 0.7, feedback 0.3")


def build(job: exchange.Exchange) -> Engines.mPIE:
    """The engine and its state; encoder positions are relative to the centre of the object array, which is square."""
    side = 2 * ((max(job.object_shape) + 1) // 2)
    frame = job.patterns.shape[-1]
    data = ExperimentalData("test:nodata")
    data.ptychogram = job.patterns
    data.wavelength, data.zo, data.dxd = job.wavelength_m, job.distance_m, job.detector_pixel_m
    data.encoder = (job.corners_px - side // 2 + frame // 2) * job.object_pixel_m
    data._setData()
    params = Params()
    params.gpuSwitch = False
    state = Reconstruction(data, params)
    state.No = side
    state.initializeObjectProbe()
    state.object = np.ones_like(state.object)
    state.probe = job.probe.reshape(state.probe.shape).astype(state.probe.dtype)
    if not np.array_equal(state.positions, job.corners_px):
        raise SystemExit(f"PtyLab places the windows elsewhere: {state.positions[:3]} for {job.corners_px[:3]}")
    return Engines.mPIE(state, data, params, DummyMonitor())


if __name__ == "__main__":
    main()
