"""pty-chi: rPIE and LSQML with the settings of its own examples, batches drawn at random."""

import numpy as np
import ptychi.api as api
import torch
from ptychi.api.task import PtychographyTask

import exchange

BATCHES = {"rpie_50": 50, "rpie_20": 20, "lsqml_50": 50}


def main() -> None:
    job = exchange.read(tuple(BATCHES))
    task = build(job)
    for epoch in job.epochs():
        task.run(1)
        job.keep(epoch, lambda: task.get_data_to_cpu("object", as_numpy=True))
    name = job.engine.split("_")[0]
    extra = "alpha 0.1, unit steps" if name == "rpie" else "momentum 0.5, unit steps"
    job.save("ptychi", f"{name.upper()}, batch {BATCHES[job.engine]}, {extra}")


def build(job: exchange.Exchange) -> PtychographyTask:
    """A task on the CPU; positions are relative to the centre of the object array."""
    options = api.RPIEOptions() if job.engine.startswith("rpie") else api.LSQMLOptions()
    options.data_options.wavelength_m = job.wavelength_m
    options.object_options.pixel_size_m = job.object_pixel_m
    options.object_options.optimizable = options.probe_options.optimizable = True
    options.object_options.optimizer = options.probe_options.optimizer = api.Optimizers.SGD
    options.object_options.step_size = options.probe_options.step_size = 1.0
    options.probe_position_options.optimizable = False
    reconstructor = options.reconstructor_options
    reconstructor.num_epochs = job.most_epochs
    reconstructor.batch_size = BATCHES[job.engine]
    reconstructor.default_device = api.Devices.CPU
    reconstructor.random_seed = 0
    if job.engine.startswith("lsqml"):
        reconstructor.momentum_acceleration_gain = 0.5
    frame = np.array(job.patterns.shape[1:])
    # A window around position 0 begins at round(N / 2) - 0.5 - (n - 1) / 2 of its object array.
    middle = np.round(np.array(job.object_shape) / 2) - 0.5 - (frame - 1) / 2
    places = job.corners_px - middle
    return PtychographyTask(
        options,
        diffraction_data=job.patterns,
        object_data=torch.ones(1, *job.object_shape, dtype=torch.complex64),
        probe_data=torch.from_numpy(job.probe)[None, None],
        probe_position_x_px=places[:, 1],
        probe_position_y_px=places[:, 0],
    )


if __name__ == "__main__":
    main()
