"""Patterns of printed objects of many kinds and sizes, healthy and with one thing wrong, and what is stated of their support."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.random import Generator

from harness.printed_objects import DRAWN, Flaws, Printed, printed

SIZES = (64, 96, 128, 160, 192)
HEALTHY = 24
"""Healthy patterns; as many have faults."""
TWICE = 2
"""Drawings of each fault."""


@dataclass(frozen=True)
class Told:
    """A pattern to be made, and what is stated of its support: support, circle, nothing, upside down, half."""

    kind: str
    frame_px: int
    given: str
    oversampling: float
    phase: float = 0.0
    flaws: Flaws = field(default_factory=Flaws)

    def made(self, seed: int) -> Printed:
        return printed(
            self.kind,
            seed=seed,
            frame_px=self.frame_px,
            oversampling=self.oversampling,
            phase=self.phase,
            flaws=self.flaws,
        )

    @property
    def name(self) -> str:
        return f"{self.kind}, {self.frame_px} px, {self.given}" + (f", {self.phase:.1f} rad" if self.phase else "")


def healthy(rng: Generator) -> Told:
    """A small beam stop, 1e7 to 1e10 photons; objects with phase have their support stated."""
    phase = float(rng.choice([0.0, 0.0, rng.uniform(0.5, 2.0)]))
    oversampling = float(rng.uniform(4.0, 5.0))
    flaws = Flaws(
        photons=10 ** rng.uniform(7.0, 10.0),
        stop_px=oversampling * rng.uniform(0.0, 2.0),
        arm_px=float(rng.uniform(1.0, 3.0)),
    )
    given = "support" if phase else str(rng.choice(["support", "circle", "nothing"]))
    return Told(str(rng.choice(list(DRAWN))), int(rng.choice(SIZES)), given, oversampling, phase, flaws)


def _with(**changed: Any) -> Callable[[Told, Generator], Told]:
    """Something else of the recording."""
    return lambda told, _: replace(told, flaws=replace(told.flaws, **changed))


def _given(given: str) -> Callable[[Told, Generator], Told]:
    return lambda told, _: replace(told, given=given)


def _behind_stop(speckles: float, given: str, phase: float = 0.0) -> Callable[[Told, Generator], Told]:
    return lambda told, rng: replace(
        told,
        given=given,
        phase=phase,
        flaws=replace(told.flaws, photons=1e9, stop_px=told.oversampling * (speckles + rng.uniform(0.0, 0.5))),
    )


FAULTS: Mapping[str, Callable[[Told, Generator], Told]] = {
    "stop of 6 speckles, nothing stated": _behind_stop(6.0, "nothing"),
    "phase behind a stop of 3 speckles, nothing stated": _behind_stop(3.0, "nothing", 1.0),
    "phase behind a stop of 4 speckles, circle": _behind_stop(4.0, "circle", 1.0),
    "phase behind a stop of 6 speckles, support": _behind_stop(6.0, "support", 1.0),
    "blur of 0.7 px not told": _with(blur_px=0.7),
    "blur of 1.2 px not told": _with(blur_px=1.2),
    "background": _with(background=10.0),
    "200 pixels saturated": _with(saturated=200),
    "symmetrised, with phase": lambda told, _: replace(told, phase=1.5, flaws=replace(told.flaws, symmetrised=True)),
    "support upside down": _given("upside down"),
    "half of the support": _given("half"),
    "1e5 photons": _with(photons=1e5),
}


def cases(seed: int, every: int) -> Iterator[tuple[str, str, Told, Printed]]:
    """What is wrong, a name, how it was made, and the pattern with its truth."""
    for number in range(0, HEALTHY, every):
        told = healthy(np.random.default_rng([seed, number]))
        yield "none", f"{told.name}, drawing {number}", told, told.made(seed + number)
    for number, name in list(enumerate(FAULTS))[::every]:
        for drawing in range(TWICE):
            rng = np.random.default_rng([seed, 1000 + number, drawing])
            told = FAULTS[name](healthy(rng), rng)
            yield name, f"{told.name}, drawing {drawing}", told, told.made(seed + 1000 + 2 * number + drawing)


def stated_support(made: Printed, given: str, folder: Path) -> str | None:
    """What is stated of the support, as an option takes it; an image is written into the folder."""
    if given == "nothing":
        return None
    there = made.truth.abs() > 0
    if given == "circle":
        far = (there.nonzero() - torch.tensor(there.shape) // 2).double().norm(dim=1).max()
        return f"circle:{float(far) * 1.1:.0f}"
    if given == "upside down":
        there = there.flip(0).roll(1, 0)
    elif given == "half":
        there = there & (torch.arange(there.shape[1]) < there.shape[1] // 2)
    path = folder / "support.npy"
    np.save(path, there.numpy())
    return str(path)
