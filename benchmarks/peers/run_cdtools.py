"""cdtools-py: `SimplePtycho` with Adam, batches of 10 as in its example simple_ptycho.py.

`simple` has the default learning rate of that example, `simple_fast` that with which its larger examples begin: on other
drawings of the problem it needs about half the epochs to 0.1 and ends noisier at high frequencies.
"""

import numpy as np
import torch
from cdtools.datasets import Ptycho2DDataset
from cdtools.models import SimplePtycho

import exchange

RATES = {"simple": 0.005, "simple_fast": 0.02}


def main() -> None:
    job = exchange.read(tuple(RATES))
    torch.manual_seed(0)
    model, data = build(job)
    # Its own thread only serves live plots and would add waiting time.
    losses = model.Adam_optimize(job.most_epochs, data, batch_size=10, lr=RATES[job.engine], thread=False)
    for epoch in job.epochs():
        next(losses)
        job.keep(epoch, lambda: model.obj.detach().numpy())
    job.save("cdtools-py", f"SimplePtycho, Adam, batch 10, learning rate {RATES[job.engine]:g}")


def build(job: exchange.Exchange) -> tuple[SimplePtycho, Ptycho2DDataset]:
    """Model and data that see the problem's own canvas: translations are metres along a basis of (y, x)."""
    pixel_m = job.detector_pixel_m
    basis = np.array([[0, -pixel_m], [-pixel_m, 0], [0, 0]], dtype=np.float32)
    geometry = {"basis": torch.tensor(basis), "distance": job.distance_m, "corner": None}
    step = job.object_pixel_m
    translations = np.stack([-job.corners_px[:, 1] * step, -job.corners_px[:, 0] * step, 0 * job.corners_px[:, 0]], 1)
    data = Ptycho2DDataset(
        translations.astype(np.float32),
        torch.from_numpy(job.patterns),
        wavelength=torch.tensor(job.wavelength_m),
        detector_geometry=geometry,
    )
    first = SimplePtycho.from_dataset(data)
    model = SimplePtycho(
        first.wavelength,
        first.probe_basis,
        job.probe,
        np.ones(job.object_shape, np.complex64),
        min_translation=[0.0, 0.0],
    )
    found = np.rint(pixels(model, data.translations)).astype(int)
    if not np.array_equal(found, job.corners_px):
        raise SystemExit(f"cdtools places the windows elsewhere: {found[:3]} instead of {job.corners_px[:3]}")
    return model, data


def pixels(model: SimplePtycho, translations: torch.Tensor) -> np.ndarray:
    """Where the model will cut its windows."""
    from cdtools.tools.interactions import translations_to_pixel

    return translations_to_pixel(model.probe_basis, translations).numpy()


if __name__ == "__main__":
    main()
