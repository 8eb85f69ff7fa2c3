"""cdtools-py: Adam, with batches and learning rates of its own examples.

`simple` is `SimplePtycho` with the learning rate and the batches of 10 of its example simple_ptycho.py, `simple_fast` with
the rate with which its larger examples begin: on other drawings of the problem it needs about half the epochs to 0.1 and
ends noisier at high frequencies. `fancy` is `FancyPtycho`, which knows modes, masks and positions, as in its example
fancy_ptycho.py: 50 epochs at 0.02 in batches of 10, then 0.005 in batches of 50.
"""

from collections.abc import Iterator

import numpy as np
import torch
from cdtools.datasets import Ptycho2DDataset
from cdtools.models import FancyPtycho, SimplePtycho
from cdtools.reconstructors import AdamReconstructor
from cdtools.tools.interactions import translations_to_pixel

import exchange

LOOPS = {
    "simple": ((None, 0.005, 10),),
    "simple_fast": ((None, 0.02, 10),),
    "fancy": ((50, 0.02, 10), (None, 0.005, 50)),
}
"""Engine -> loops one after the other: epochs (None: to the end), learning rate, batch."""


def main() -> None:
    job = exchange.read(tuple(LOOPS))
    torch.manual_seed(0)
    model, data = (build_fancy if job.engine == "fancy" else build)(job)
    losses = loops(model, data, job)
    for epoch in job.epochs():
        next(losses)
        job.keep(epoch, lambda: model.obj.detach().numpy(), lambda: places(model, data, job))
    told = ", then ".join(f"learning rate {rate:g} in batches of {batch}" for _, rate, batch in LOOPS[job.engine])
    name = f"FancyPtycho, {job.modes} modes, translation offsets" if job.engine == "fancy" else "SimplePtycho"
    job.save("cdtools-py", f"{name}, Adam, {told}")


def loops(model: torch.nn.Module, data: Ptycho2DDataset, job: exchange.Exchange) -> Iterator[float]:
    """The loss after each epoch of all loops. One reconstructor, so that Adam remembers what it knows."""
    optimiser = AdamReconstructor(model, data)
    for epochs, rate, batch in LOOPS[job.engine]:
        # Its own thread only serves live plots and would add waiting time.
        yield from optimiser.optimize(epochs or job.most_epochs, lr=rate, batch_size=batch, thread=False)


def dataset(job: exchange.Exchange) -> Ptycho2DDataset:
    """The data on the problem's own canvas: translations are metres along a basis of (y, x)."""
    pixel_m = job.detector_pixel_m
    basis = np.array([[0, -pixel_m], [-pixel_m, 0], [0, 0]], dtype=np.float32)
    geometry = {"basis": torch.tensor(basis), "distance": job.distance_m, "corner": None}
    step = job.object_pixel_m
    y, x = job.positions_px.T
    translations = np.stack([-x * step, -y * step, 0 * x], axis=1)
    return Ptycho2DDataset(
        translations.astype(np.float32),
        torch.from_numpy(job.patterns),
        wavelength=torch.tensor(job.wavelength_m),
        detector_geometry=geometry,
        mask=None if job.mask.all() else torch.from_numpy(job.mask),
    )


def build(job: exchange.Exchange) -> tuple[SimplePtycho, Ptycho2DDataset]:
    """A model on the problem's own canvas, and its data."""
    data = dataset(job)
    first = SimplePtycho.from_dataset(data)
    model = SimplePtycho(
        first.wavelength,
        first.probe_basis,
        job.probe,
        np.ones(job.object_shape, np.complex64),
        min_translation=[0.0, 0.0],
    )
    check(model, data, job)
    return model, data


def build_fancy(job: exchange.Exchange) -> tuple[FancyPtycho, Ptycho2DDataset]:
    """The same for the larger model; further modes and all else as its `from_dataset` begins them."""
    data = dataset(job)
    first = FancyPtycho.from_dataset(data, n_modes=job.modes)
    further = first.probe.detach()[1:]
    further = further * float(np.abs(job.probe).max())
    model = FancyPtycho(
        first.wavelength,
        data.detector_geometry,
        first.obj_basis,
        torch.cat([torch.from_numpy(job.probe)[None], further]),
        np.ones(job.object_shape, np.complex64),
        min_translation=[0.0, 0.0],
        background=first.background.detach(),
        translation_offsets=torch.zeros(len(job.patterns), 2) if job.refine_positions else None,
        weights=first.weights.detach(),
        mask=first.mask,
    )
    # The brightness of the frames is known.
    model.weights.requires_grad = False
    check(model, data, job)
    return model, data


def check(model: torch.nn.Module, data: Ptycho2DDataset, job: exchange.Exchange) -> None:
    """Stop where the model would cut its windows elsewhere."""
    found = places(model, data, job)
    if np.abs(found - job.positions_px).max() > 0.01:
        raise SystemExit(f"cdtools places the windows elsewhere: {found[:3]} instead of {job.positions_px[:3]}")


def places(model: torch.nn.Module, data: Ptycho2DDataset, job: exchange.Exchange) -> np.ndarray:
    """Where the model cuts its windows, pixels."""
    offsets = getattr(model, "translation_offsets", None)
    recorded = translations_to_pixel(model.probe_basis, data.translations).numpy()
    return recorded if offsets is None else recorded + offsets.detach().numpy()


if __name__ == "__main__":
    main()
