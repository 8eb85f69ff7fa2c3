"""pty-chi: rPIE and LSQML with the settings of its own examples, batches drawn at random.

Positions by its gradient with its default step and limit of 0.1 pixels an update, once the image stands: of some that were
tried on another drawing longer steps went astray. Its own weak Hermite mode is the second.
"""

import numpy as np
import ptychi.api as api
import torch
from ptychi.api.task import PtychographyTask
from ptychi.utils import orthogonalize_initial_probe

import exchange

BATCHES = {"rpie_50": 50, "rpie_20": 20, "lsqml_50": 50}
POSITION_STEP = 0.3
POSITIONS_FROM = 5
"""First epoch in which positions move."""


def main() -> None:
    job = exchange.read(tuple(BATCHES))
    task = build(job)
    for epoch in job.epochs():
        task.run(1)
        job.keep(epoch, lambda: task.get_data_to_cpu("object", as_numpy=True), lambda: places(task, job))
    name = job.engine.split("_")[0]
    extra = "alpha 0.1, unit steps" if name == "rpie" else "momentum 0.5, unit steps"
    if job.refine_positions:
        extra += f", {job.modes} modes, positions by gradient from epoch {POSITIONS_FROM} in steps of {POSITION_STEP:g}"
    job.save("ptychi", f"{name.upper()}, batch {BATCHES[job.engine]}, {extra}")


def build(job: exchange.Exchange) -> PtychographyTask:
    """A task on the CPU; positions are relative to the centre of the object array."""
    options = api.RPIEOptions() if job.engine.startswith("rpie") else api.LSQMLOptions()
    options.data_options.wavelength_m = job.wavelength_m
    options.object_options.pixel_size_m = job.object_pixel_m
    options.object_options.optimizable = options.probe_options.optimizable = True
    options.object_options.optimizer = options.probe_options.optimizer = api.Optimizers.SGD
    options.object_options.step_size = options.probe_options.step_size = 1.0
    options.probe_position_options.optimizable = job.refine_positions
    if job.refine_positions:
        options.probe_position_options.optimizer = api.Optimizers.SGD
        options.probe_position_options.step_size = POSITION_STEP
        options.probe_position_options.optimization_plan.start = POSITIONS_FROM
    reconstructor = options.reconstructor_options
    reconstructor.num_epochs = job.most_epochs
    reconstructor.batch_size = BATCHES[job.engine]
    reconstructor.default_device = api.Devices.CPU
    reconstructor.random_seed = 0
    if job.engine.startswith("lsqml"):
        reconstructor.momentum_acceleration_gain = 0.5
    probe = torch.from_numpy(job.probe)[None, None].repeat(1, job.modes, 1, 1)
    recorded = job.positions_px - middle(job)
    return PtychographyTask(
        options,
        diffraction_data=job.patterns,
        object_data=torch.ones(1, *job.object_shape, dtype=torch.complex64),
        probe_data=probe if job.modes == 1 else orthogonalize_initial_probe(probe),
        probe_position_x_px=recorded[:, 1],
        probe_position_y_px=recorded[:, 0],
        valid_pixel_mask=torch.from_numpy(job.mask),
    )


def middle(job: exchange.Exchange) -> np.ndarray:
    """Where the window of position 0 begins: round(N / 2) - 0.5 - (n - 1) / 2 of its object array."""
    return np.round(np.array(job.object_shape) / 2) - 0.5 - (np.array(job.patterns.shape[1:]) - 1) / 2


def places(task: PtychographyTask, job: exchange.Exchange) -> np.ndarray:
    """Where the windows are believed to begin."""
    return task.get_data_to_cpu("probe_positions", as_numpy=True) + middle(job)


if __name__ == "__main__":
    main()
