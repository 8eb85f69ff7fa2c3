"""PtyRAD: its Adam on object amplitude, object phase and probe, batches of 32 drawn at random.

Learning rates are ours, the best of some tried on another drawing of the problem: its own are meant for electrons. It knows
no mask: gaps of the detector are made dark in the modelled patterns, as they are in the measured ones. Further probe modes as
it makes them, with 2 % of the power each.
"""

import logging
import sys
import types

import numpy as np
import torch

import exchange

if sys.version_info < (3, 12):
    # Release 1.0.0 has an f-string in its plots that only Python 3.12 understands; plots are not needed here.
    for name in ("basic", "model"):
        blank = types.ModuleType(f"ptyrad.plotting.{name}")
        blank.plot_pos_grouping = blank.plot_summary = None
        sys.modules[blank.__name__] = blank

from ptyrad.core.losses import CombinedLoss
from ptyrad.core.models.ptycho import PtychoModel
from ptyrad.optics.probe import make_mixed_probe
from ptyrad.solver.reconstruction import compute_loss, create_optimizer, make_batches, recon_step

RATES = {"obja": 1e-2, "objp": 1e-2, "probe": 1e-3, "obj_tilts": 0.0, "slice_thickness": 0.0, "probe_pos_shifts": 0.0}
POSITION_RATE = 1e-2
"""Pixels, where positions are refined."""
OFF = {"state": False, "weight": 0.0}


def main() -> None:
    job = exchange.read(("adam",))
    logging.disable(logging.WARNING)
    torch.manual_seed(0)
    model = build(job)
    optimizer = create_optimizer({"name": "Adam", "configs": {}}, model.optimizable_params)
    batches = make_batches(np.arange(len(job.patterns)), job.corners_px, 32, mode="random", seed=0)
    terms = {"loss_single": {"state": True, "weight": 1.0, "dp_pow": 0.5}}
    terms |= {f"loss_{name}": OFF for name in ("poissn", "pacbed", "sparse", "simlar")}
    loss = CombinedLoss(terms, device="cpu")
    for epoch in job.epochs():
        recon_step(batches, 1, model, optimizer, None, loss, unconstrained, epoch, compute_loss_fn=compute_loss)
        job.keep(epoch, lambda: image(model), lambda: places(model))
    rates = ", ".join(f"{name} {rate:g}" for name, rate in rates_of(job).items() if rate)
    job.save("ptyrad", f"Adam, batch 32, learning rates {rates}, loss of amplitudes")


def unconstrained(model: PtychoModel, epoch: int) -> None:
    """No constraint after an epoch."""


def image(model: PtychoModel) -> np.ndarray:
    """The complex object of its amplitude and phase."""
    return torch.polar(model.opt_obja.detach(), model.opt_objp.detach()).numpy()[0, 0]


def places(model: PtychoModel) -> np.ndarray:
    """Where the windows are believed to begin."""
    return (model.crop_pos + model.opt_probe_pos_shifts.detach()).numpy()


def rates_of(job: exchange.Exchange) -> dict[str, float]:
    """Learning rates of what is to be found."""
    return RATES | {"probe_pos_shifts": POSITION_RATE if job.refine_positions else 0.0}


class MaskedModel(PtychoModel):
    """The package's model, seen by a detector with gaps."""

    trusted: torch.Tensor

    def get_detector_pattern(self, dp: torch.Tensor) -> torch.Tensor:
        # Not quite dark: the root of nothing has no slope.
        return torch.where(self.trusted, super().get_detector_pattern(dp), 1e-12)


def build(job: exchange.Exchange) -> PtychoModel:
    """The model without what electrons need: one slice, no tilt; patterns of mean sum 1, as its own preparation makes."""
    photons = float(job.patterns.sum(axis=(1, 2)).mean())
    frames, size = len(job.patterns), job.patterns.shape[-1]
    start = {
        "obj": np.ones((1, 1, *job.object_shape), np.complex64),
        "probe": make_mixed_probe(job.probe / np.sqrt(photons), job.modes, [0.02]),
        "measurements": (job.patterns / photons).astype(np.float32),
        "crop_pos": job.corners_px.astype(np.int32),
        "probe_pos_shifts": (job.positions_px - job.corners_px).astype(np.float32),
        "obj_tilts": np.zeros((1, 2), np.float32),
        "slice_thickness": 1.0,
        "omode_occu": np.ones(1, np.float32),
        "H": np.ones((size, size), np.complex64),
        "N_scan_slow": 1,
        "N_scan_fast": frames,
        "dx": 1.0,
        "dk": 1.0 / size,
        "lambd": 0.02,
        "random_seed": 0,
        "length_unit": "Ang",
        "scan_affine": None,
        "meas_Npix": size,
        "simu_Npix": size,
        "simu_match_mode": None,
        "recon_provenance": {},
    }
    rates = {name: {"lr": rate, "start_iter": 1, "end_iter": None} for name, rate in rates_of(job).items()}
    options = {"update_params": rates, "optimizer_params": {"name": "Adam", "configs": {}}, "detector_blur_std": None}
    if job.mask.all():
        return PtychoModel(start, options, device="cpu")
    model = MaskedModel(start, options, device="cpu")
    model.trusted = torch.from_numpy(job.mask)
    return model


if __name__ == "__main__":
    main()
