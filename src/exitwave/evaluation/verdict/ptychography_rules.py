"""What the evidence on a ptychographic image says, with the bounds from which on it says it."""

import math
from collections.abc import Iterator, Mapping

from exitwave.data.geometry import Particle, noise_of
from exitwave.evaluation.verdict.fit import OUTLYING
from exitwave.evaluation.verdict.rule import Says

SOUND, FAILED, HOPELESS = 0.85, 0.6, 0.45
"""Correlation of predicted with measured differences among frames: from the first on it is good, below the second none,
unless moves of the frames would mend a good part of the misfit; below the third in any case."""
EXPLAINED = 0.95
"""The same of the finished image, for frames that it has seen: less than this is an image that does not explain its frames."""
FALLING, UNEXPLAINED, UNEXPLAINED_BEYOND_NOISE = 0.9, 0.05, 0.02
"""A residual that the last fifth of the epochs brought below this share was still falling: it matters where the fit leaves
more than this share of the differences among frames unexplained, and sooner where noise is not the reason (ABOVE_NOISE)."""
LEAST_COVER, NO_COVER = 0.5, 0.2
"""Share of a frame's light that neighbours must have lit, too, for a prediction to mean anything; and below which frames have
nothing in common by which they could be phased."""
LEAST_SIGNAL = 0.2
"""Differences among frames, beyond photon noise and as a share of it, below which there is nothing to predict."""
UNFINISHED = 2.0
"""Misfit over what photon noise leaves, from which on a residual that falls has something beside noise to explain."""
MOVE_PX, BEYOND_CHANCE = 0.1, 2.5
"""Frames that want to move so far, and so many times further than photon noise moves them, stand wrong."""
MOVE_NEAR_PX = 0.035
"""The same in the near field, where every frame is a sharp picture of the sample and tells its place much better."""
LEAST_MENDED = 0.02
"""Share of the misfit that such moves must take away: frames that show little detail want this and that."""
MOVE_ALIKE_PX, BEYOND_CHANCE_ALIKE = 0.04, 1.5
"""The same where they all want it alike, as one map of the positions or one after another."""
ALIKE = 0.33
"""Share of those wishes that a scaling, turn or shear of all positions explains."""
SLOW = 0.5
"""Correlation of the wishes of frames that follow each other, from which on it is a drift."""
OFF_BY_ONE, FITS_THERE = 0.7, 2.5
"""Misfit of frames at one neighbour's place over that at the other's, and over that at their own, below which they belong there:
of right positions both places are alike, and much worse than their own."""
WORTH_MENDING = 0.05
"""Share of the misfit that moves of the frames would take away, from which on positions are the first thing to mend."""
BELOW_NOISE = 0.5
"""Misfit over what photon noise leaves: less than this no model of photon counts can reach without fitting noise."""
ABOVE_NOISE = 4.0
"""And from so many times more on something beside noise is not modelled."""
MOST_OUTLYING = 0.04
"""Share of such frames from which on the scan is not as it is described."""
FREE = 2.0
"""Free residual over residual, beyond which pixels were fitted one by one."""
FULL = 0.3
"""Share of the probe's photons in the outer eighth of the frame on each side: an even frame has 0.44."""
SHARE_MOVES = 0.04
"""A fit of the beam's coherence, the object as it is, that wants the strongest mode to hold so much more or less of the light:
the shares are not found, or not determined. Of modes that are found it differs by 0.01."""
ALIKE_MODES = 0.8
"""Light of the second mode over that of the first from which on no beam is the likelier cause."""
LEAST_FRAMES = 16
"""Fewer frames cannot test each other: the probe has seen those that are left out, and remembers them."""


def said(e: Mapping[str, float], *, near_field: bool, particle: Particle = "photon") -> Iterator[Says]:
    """What the figures say, one thing each, of photons or electrons."""
    yield from _of_prediction(e, particle)
    yield from _of_order(e)
    yield from _of_positions(e, near_field=near_field, particle=particle)
    yield from _of_noise(e, particle)
    yield from _of_frames(e)
    yield from _of_modes(e)
    if not near_field and e["probe-border"] > FULL:
        yield Says(
            grade="doubtful",
            reason=f"the probe fills the frame: {e['probe-border']:.0%} of its {particle}s lie in the outer eighth",
            advice=(
                "check energy, distance and detector pixel: a probe that does not fit its frame has the wrong object pixel; "
                "or the scan is near field (--focus-distance-m)",
            ),
        )


def _of_prediction(e: Mapping[str, float], particle: Particle) -> Iterator[Says]:
    if e["signal"] < LEAST_SIGNAL and e["noise-ratio"] > BELOW_NOISE:
        yield Says(
            grade="doubtful",
            reason=f"the frames hardly differ beyond {noise_of(particle)}: there is next to nothing in them of which an image could "
            "be made",
            advice=(f"more {particle}s, or look whether the sample is in the beam",),
        )
    found, covered = e.get("left-out-correlation"), e.get("left-out-covered", 0.0)
    if found is None or covered < LEAST_COVER:
        grade = "failed" if covered < NO_COVER or (found is not None and found < FAILED) else "doubtful"
        yield Says(
            grade=grade,
            reason=f"neighbouring frames share too little of the sample to test each other ({covered:.0%} of the light of a "
            "frame falls where others lit it, too)",
            advice=("check the unit of the positions, energy and distance; scan with more overlap",),
        )
        return
    told = f"frames that were left out are predicted from their neighbours with a correlation of {found:.2f}"
    beside = f"{e['fitted-correlation']:.2f} where they were fitted"
    causes = (
        "check geometry and positions: energy, distance, order of the frames, axes (exitwave info --auto-orient), near or far "
        "field",
        "look at the frames with exitwave info: pixels without a mask, bad frames",
        "more modes (--modes 2) or more epochs, if these are as they should be",
    )
    if found < HOPELESS or (found < FAILED and e["moves-mend"] < WORTH_MENDING):
        yield Says(
            grade="failed", reason=f"{told} ({beside}): an image of the sample would predict them", advice=causes
        )
    elif found < SOUND or e["fitted-correlation"] < EXPLAINED:
        good = f"from {SOUND} on ({EXPLAINED} where they were fitted) it is good"
        yield Says(grade="doubtful", reason=f"{told} ({beside}); {good}", advice=causes)
    else:
        yield Says(grade="sound", reason=f"{told} ({beside})")
    unexplained = 1 - min(e["fitted-correlation"], 1.0) ** 2
    most = UNEXPLAINED_BEYOND_NOISE if e["noise-ratio"] > UNFINISHED else UNEXPLAINED
    if e.get("residual-fall", 1.0) < FALLING and unexplained > most:
        yield Says(
            grade="doubtful",
            reason=f"the residual still fell by {1 - e['residual-fall']:.0%} over the last fifth of the epochs, and "
            f"{unexplained:.0%} of the differences among frames are not explained yet",
            advice=("more epochs (--epochs), or another solver: lsqml or mpie",),
        )


def _of_order(e: Mapping[str, float]) -> Iterator[Says]:
    before, after = e.get("frames-at-place-before", 1.0), e.get("frames-at-place-after", 1.0)
    if min(before, after) < min(FITS_THERE, OFF_BY_ONE * max(before, after)):
        place = "after" if after < before else "before"
        yield Says(
            grade="doubtful",
            reason=f"frames fit {max(before, after) / max(min(before, after), 1e-30):.2g} times better at the place of the one "
            f"{place} them than of the other neighbour: frames and positions may be off by one",
            advice=(
                "one frame or position may be missing or too many, at the beginning or on the way: compare their numbers",
            ),
        )


def _of_positions(e: Mapping[str, float], *, near_field: bool, particle: Particle) -> Iterator[Says]:
    wish, chance = e["moves-rms-px"], e["moves-by-chance-px"]
    alike = e["moves-affine"] > ALIKE or e["moves-slow"] > SLOW
    mends = alike or near_field or e["moves-mend"] > LEAST_MENDED
    least = MOVE_NEAR_PX if near_field else MOVE_ALIKE_PX if alike else MOVE_PX
    if wish < max(least, (BEYOND_CHANCE_ALIKE if alike else BEYOND_CHANCE) * chance) or not mends:
        return
    told = f"the frames want to stand {wish:.2g} px elsewhere ({noise_of(particle)} explains {chance:.2g} px)"
    if e["moves-affine"] > ALIKE:
        yield Says(
            grade="doubtful",
            reason=f"{told}, all alike: positions scaled by {e['moves-scale']:.4f} and turned by "
            f"{math.degrees(e['moves-rotation-rad']):.2f} degrees would fit better",
            advice=("check energy, distance, detector pixel and the scale of the positions", "--refine-positions"),
        )
    elif e["moves-slow"] > SLOW:
        yield Says(
            grade="doubtful",
            reason=f"{told}, those that follow each other alike: the stage drifted",
            advice=("--refine-positions",),
        )
    else:
        yield Says(
            grade="doubtful",
            reason=told,
            advice=("--refine-positions", "check the order of the frames and how the scan is turned (--auto-orient)"),
        )


def _of_noise(e: Mapping[str, float], particle: Particle) -> Iterator[Says]:
    ratio, expected = e["noise-ratio"], max(1 - e["unknowns"], 0.05)
    if e["frames"] < LEAST_FRAMES:
        yield Says(
            grade="doubtful",
            reason=f"{e['frames']:.0f} frames are too few to test each other",
            advice=("more frames, or give a known probe (--probe) and leave it as it is",),
        )
    predicts = e.get("left-out-correlation", 0.0) >= SOUND
    if ratio < BELOW_NOISE * expected:
        yield Says(
            grade="sound" if predicts else "doubtful",
            reason=f"the misfit is {ratio:.2g} of what {noise_of(particle)} would leave: "
            + (
                "the counts are scaled, or simulated without noise"
                if predicts
                else "noise is fitted, or the counts are scaled"
            ),
            advice=(f"state counts in {particle}s (--prepare photons=...)",) if not predicts else (),
        )
    elif ratio > ABOVE_NOISE:
        yield Says(
            grade="sound",
            reason=f"the misfit is {ratio:.2g} times what {noise_of(particle)} leaves: something beside noise is not modelled (or the "
            "run is not at its end)",
        )


def _of_frames(e: Mapping[str, float]) -> Iterator[Says]:
    share = e.get("outlying-frames", 0.0)
    if share > MOST_OUTLYING:
        yield Says(
            grade="doubtful",
            reason=f"{share:.0%} of the frames fit more than {OUTLYING:g} times worse than most",
            advice=(
                "look at these frames (report, residual of each frame); leave bad ones out or mend their positions",
            ),
        )
    ratio = e.get("free-ratio", 0.0)
    if ratio > FREE:
        yield Says(
            grade="doubtful",
            reason=f"pixels that the solver never saw fit {ratio:.2g} times worse than the others: noise is fitted",
            advice=("fewer modes, stronger regularisation, or more frames",),
        )


def _of_modes(e: Mapping[str, float]) -> Iterator[Says]:
    first, second = e.get("modes-first", 1.0), e.get("modes-second", 0.0)
    if second > ALIKE_MODES * first:
        yield Says(
            grade="doubtful",
            reason=f"two modes of the probe are nearly as strong ({first:.0%} and {second:.0%} of the light): a partly coherent beam "
            "has one that is stronger, and of two alike any mixture fits as well",
            advice=(
                "fewer modes (--modes 1), and look at positions, geometry and bad frames: modes also take up what these do wrong",
            ),
        )
    wanted = e.get("modes-first-refitted", first)
    if abs(wanted - first) > SHARE_MOVES:
        yield Says(
            grade="sound",
            reason=f"the shares of the modes are not determined, or not found yet: the strongest holds {first:.0%} of the light, "
            f"but with this object a beam in which it holds {wanted:.0%} explains the frames as well or better",
        )
