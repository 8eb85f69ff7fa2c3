"""What the harness and a runner tell each other: a problem on the way in, a course of images on the way out.

Each runner is a script of its own, run in the environment where its package is installed:

    python peers/run_cdtools.py problem.npz out.npz --engine simple --seconds 60

Only numpy is needed here. The clock runs while an epoch runs, not while the package is set up or an image is kept.
"""

import argparse
import importlib.metadata
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass
class Exchange:
    """A problem read from a file, and the images kept for the judge."""

    patterns: np.ndarray
    """(frame, y, x) float32 photons, beam centre at n // 2."""
    positions_px: np.ndarray
    """(frame, 2) float64 (y, x) of each window's first pixel in the object array, as recorded."""
    mask: np.ndarray
    """(y, x) True where a detector pixel can be trusted."""
    probe: np.ndarray
    """(y, x) complex64, centred at n // 2; carries the photons of a mean frame under a unitary transform."""
    object_shape: tuple[int, int]
    modes: int
    """Incoherent modes to find; `probe` is the guess of the strongest, the others are for the package to begin."""
    refine_positions: bool
    wavelength_m: float
    distance_m: float
    detector_pixel_m: float
    object_pixel_m: float
    engine: str
    seconds: float
    most_epochs: int
    out: Path
    spent: float = 0.0
    _began: float = 0.0
    _kept: list[tuple[int, float, np.ndarray, np.ndarray]] = field(default_factory=list)

    @property
    def corners_px(self) -> np.ndarray:
        """(frame, 2) int64: the nearest whole pixels."""
        return np.rint(self.positions_px).astype(np.int64)

    def epochs(self) -> Iterator[int]:
        """Numbers of epochs from 1 until the budget is spent; the clock runs from each until `keep` stops it."""
        epoch = 0
        while self.spent < self.seconds and epoch < self.most_epochs:
            epoch += 1
            self._began = time.perf_counter()
            yield epoch

    def keep(
        self, epoch: int, image: Callable[[], np.ndarray], positions_px: Callable[[], np.ndarray] | None = None
    ) -> None:
        """Stop the clock; keep the object array (the shape and origin of the problem's) if this epoch is to be judged.

        `positions_px` are those that the package has found so far, in the frame of the recorded ones.
        """
        self.spent += time.perf_counter() - self._began
        if epoch in LOOKS or self.spent >= self.seconds or epoch == self.most_epochs:
            found = self.positions_px if positions_px is None else np.array(positions_px(), dtype=np.float64)
            obj = np.array(image(), dtype=np.complex64).reshape(self.object_shape)
            self._kept.append((epoch, self.spent, obj, found))

    def save(self, package: str, settings: str) -> None:
        """Write what was kept, with the version of the package and the settings in words."""
        epochs, seconds, images, positions_px = zip(*self._kept, strict=True)
        version = importlib.metadata.version(package)
        np.savez(
            self.out,
            epochs=epochs,
            seconds=seconds,
            images=images,
            positions_px=positions_px,
            package=package,
            version=version,
            settings=settings,
        )


def _looks() -> set[int]:
    """The same epochs as in scoring.py, which this environment cannot import."""
    epochs, epoch = set(), 1
    while epoch < 10_000:
        epochs.add(epoch)
        epoch += max(1, epoch // 12)
    return epochs


LOOKS = _looks()


def read(engines: tuple[str, ...]) -> Exchange:
    """The problem and the budget named on the command line of a runner."""
    parser = argparse.ArgumentParser()
    parser.add_argument("problem", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--engine", choices=engines, default=engines[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--epochs", type=int, default=1000)
    told = parser.parse_args()
    with np.load(told.problem) as file:
        arrays = {name: file[name] for name in ("patterns", "positions_px", "mask", "probe")}
        numbers = {name: float(file[name]) for name in NUMBERS}
        shape = (int(file["object_shape"][0]), int(file["object_shape"][1]))
        modes, refine = int(file["modes"]), bool(file["refine_positions"])
    return Exchange(
        **arrays,
        **numbers,
        object_shape=shape,
        modes=modes,
        refine_positions=refine,
        engine=told.engine,
        seconds=told.seconds,
        most_epochs=told.epochs,
        out=told.out,
    )


NUMBERS = ("wavelength_m", "distance_m", "detector_pixel_m", "object_pixel_m")
