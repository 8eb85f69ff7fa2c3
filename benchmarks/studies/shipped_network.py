"""Train the network that comes with the package: `general`, for any probe and sample, on made scans alone.

Puts it into src/exitwave/io/networks; ten minutes on one core. PtychoPINN without labels on small scans of made samples
under made probes: zone plates, lenses, mirrors and pinholes, in and out of focus, frames of 64 and 128 pixels, 1e4 to 1e9
photons. Blood cells and measured probes are left out: they judge. Scans, seeds, date and versions are kept in the file.
"""

import math
import os
import shutil
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

import exitwave as ew
from exitwave.io.weights import IN_FOLDER
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import airy, disc, gaussian, kb, multilayer_laue, zone_plate
from exitwave.simulation.trajectories import TRAJECTORIES

PLACE = Path(__file__).parents[2] / "src" / "exitwave" / "io" / "networks" / "general.safetensors"
GEOMETRY = ew.Geometry.from_energy(8000.0, 2.0, (75e-6, 75e-6))
UNSEEN = ("cells",)
SEED = 7
SCANS, FRAMES = 48, 100


def lesson(number: int) -> tuple[ew.Scan, Tensor]:
    """A scan to learn from, and its probe; everything about it is drawn by its number."""
    drawn = np.random.default_rng([SEED, number])
    # Every sample, and every third scan in frames of 128 pixels as large beams have them.
    names = [name for name in OBJECTS if name not in UNSEEN]
    name, frame_px = names[number % len(names)], 128 if number % 3 == 2 else 64
    diameter = frame_px * drawn.uniform(0.3, 0.5)
    kind, probe = made_probe(number, frame_px, diameter, drawn)
    overlap = drawn.uniform(0.65, 0.85)
    positions = TRAJECTORIES["jittered"](FRAMES, (1 - overlap) * diameter, seed=number) + 4
    shape = tuple(math.ceil(float(last)) + frame_px + 4 for last in positions.amax(dim=0))
    simulated = ew.measure(
        OBJECTS[name]((shape[0], shape[1]), seed=500 + number),
        probe,
        positions,
        GEOMETRY,
        detection=ew.Detection(photons_per_frame=float(10 ** drawn.uniform(4, 9))),
        seed=500 + number,
        provenance={"object": name, "probe": kind},
    )
    return simulated.scan, simulated.truth.probe


def made_probe(number: int, frame_px: int, diameter_px: float, drawn: np.random.Generator) -> tuple[str, Tensor]:
    """Zone plates mostly, as at beamlines, with some astigmatism and coma; the rest by turns."""
    shape = (frame_px, frame_px)
    bent = {noll: float(drawn.normal(0, 0.05)) for noll in (5, 6, 7, 8)}
    sign = float(drawn.choice([-1, 1]))
    if number % 2 == 0:
        aperture = drawn.uniform(0.25, 0.45)
        defocus = sign * diameter_px / aperture
        stop = drawn.uniform(0.0, 0.4)
        return "zone_plate", zone_plate(
            shape, diameter_px=diameter_px, aperture=aperture, central_stop=stop, defocus_px2=defocus, aberrations=bent
        )
    lens = 0.2 * frame_px
    makers: list[tuple[str, Any]] = [
        ("disc", lambda: disc(shape, diameter_px=diameter_px)),
        ("airy", lambda: airy(shape, diameter_px=lens / 2, defocus_px2=sign * 2 * frame_px, aberrations=bent)),
        ("gaussian", lambda: gaussian(shape, diameter_px=0.6 * diameter_px)),
        ("kb", lambda: kb(shape, diameter_px=lens / 2, defocus_px2=sign * 2 * frame_px, aberrations=bent)),
        ("multilayer_laue", lambda: multilayer_laue(shape, diameter_px=diameter_px, aberrations=bent)),
        ("zone_plate", lambda: zone_plate(shape, diameter_px=diameter_px)),
    ]
    kind, make = makers[number // 2 % len(makers)]
    return kind, make()


def run(
    *,
    epochs: int = 3,
    save: Annotated[Path | None, "keep the training in this folder, and resume from it"] = None,
    out: Annotated[Path, "where the package finds it, if not stated"] = PLACE,
) -> None:
    """Train, and put the network where the package finds it."""
    folder = save or Path(tempfile.mkdtemp())
    made = (lesson(number) for number in range(SCANS))
    examples = [ew.TrainingExample(scan=scan, probe=probe) for scan, probe in made]
    solver = ew.PtychoPINN(epochs=epochs, averaging=0.998)

    def tell(taught: ew.TrainingProgress) -> None:
        at = taught.progress
        if at.step % 25 == 0:
            print(
                f"epoch {at.epoch} step {at.step}/{at.steps} loss {at.loss:.4f} held out {at.held_out_loss:.4f}",
                flush=True,
            )

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "0")) or torch.get_num_threads())
    ew.train(
        solver,
        examples,
        save=folder,
        run=ew.TrainingRun(seed=SEED, resume=(folder / "training.safetensors").exists(), checkpoint_every=1),
        watch=tell,
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / IN_FOLDER, out)
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")
