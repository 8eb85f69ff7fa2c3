"""Near or far field, as the frames themselves say: in the near field the sample's shadow moves with the stage."""

import math

import numpy as np

from exitwave.data.checks import step_px
from exitwave.data.finding import Finding
from exitwave.data.geometry import Geometry
from exitwave.data.scan import Scan
from exitwave.problems.shadow_motion import WINDOW_FILLED, ShadowMotion

NO_FOCUS = 1.05
"""Magnifications below this cannot be told from that of a parallel beam, 1."""
MISREAD = 1.4
"""Factor by which a measured magnification may miss that of the geometry: usually by a few per cent, with few frames by more."""
STAYS = 2.5
"""Agreement of a pair of frames, in standard deviations, from which on a pattern surely stays where it is."""
NO_MOTION = 4.0
"""Certainty below which there is no sign of any motion."""
LATTICE = {"electron": 0.25, "photon": 0.5}
"""Agreement on a motion by one period more, over that on the motion found, from which on the sample may be a lattice: what a
microscope looks at often is, and of X-rays circuits nearly are."""
SHORT_STEP_PX = 1.0
"""Steps of less than a pixel move no shadow that could be seen."""
TURNS: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {
    "--position-sign": ((-1, 0), (0, -1)),
    "--orientation flipud": ((-1, 0), (0, 1)),
    "--orientation fliplr": ((1, 0), (0, -1)),
    "--orientation transpose": ((0, 1), (1, 0)),
    "--orientation antitranspose": ((0, -1), (-1, 0)),
    "--orientation rot90_cw": ((0, -1), (1, 0)),
    "--orientation rot90_ccw": ((0, 1), (-1, 0)),
}
"""What turns the shifts of a shadow, seen in the frames as they are, the way near-field frames should have them."""
REPEATING = "repeating-sample"
"""Name of the finding that a lattice leaves the motion of its shadow open."""
_REPEATS = (
    "the sample repeats itself and the scan steps over half its period or more: how far its shadow moves from frame to frame "
    "cannot be told, nor whether these are near-field frames"
)
_OTHER_STEPS = "scan in steps below half the period; for near-field frames state --focus-distance-m"


def magnification(geometry: Geometry, motion: ShadowMotion) -> float:
    """How much larger a step is on the detector than on the sample."""
    return math.sqrt(geometry.detector_pixel_m[0] * geometry.detector_pixel_m[1]) / motion.metres_per_px


def focus_distance_m(geometry: Geometry, motion: ShadowMotion) -> float:
    """Focus to sample that this motion of the shadow tells, metres; inf for a parallel beam."""
    found = magnification(geometry, motion)
    return math.inf if found < NO_FOCUS else geometry.distance_m / (found - 1)


def regime_findings(scan: Scan, motion: ShadowMotion | None) -> list[Finding]:
    """Whether the frames contradict the regime, or the magnification, that the scan was read with."""
    if motion is None:
        return []
    geometry = scan.geometry
    if not geometry.near_field:
        return _not_far(geometry, motion)
    if motion.clear:
        return [*_otherwise_magnified(scan, motion), *_otherwise_turned(scan, motion)]
    return _not_near(scan, motion)


def _not_far(geometry: Geometry, motion: ShadowMotion) -> list[Finding]:
    filled = motion.windows_filled(geometry)
    if not motion.clear or filled < WINDOW_FILLED:
        return []
    if motion.rival > LATTICE[geometry.particle]:
        return [Finding(REPEATING, _REPEATS, "warned", _OTHER_STEPS)]
    found = magnification(geometry, motion)
    told = (
        f"the sample's shadow moves with the stage, magnified {found:.4g} times: these are near-field frames, but they are "
        "read as far field"
    )
    # In far-field frames of a thick sample the shadow of what lies downstream moves, too, and as if the beam were wider.
    action, unless = ("refused", "") if filled > 2 * WINDOW_FILLED - 1 else ("warned", ", unless the sample is thick")
    return [Finding("regime", told + unless, action, _focus_cure(geometry, motion))]


def _otherwise_magnified(scan: Scan, motion: ShadowMotion) -> list[Finding]:
    """Whether the shadow moves faster or slower than the stated distances allow."""
    geometry = scan.geometry
    found, stated = magnification(geometry, motion), geometry.magnification
    # A beam that is itself curved at the sample magnifies, too: the more, the narrower it is.
    pixel_y, pixel_x = scan.object_pixel_m
    spread_px = geometry.wavelength_m * geometry.effective_distance_m / (pixel_y * pixel_x) / motion.beam_px
    allowed, off = MISREAD * (1 + spread_px), max(found / stated, stated / found)
    if off < allowed:
        return []
    told = f"the sample's shadow moves with the stage, magnified {found:.4g} times, but the distances say {stated:.4g}"
    action = "refused" if off > 2 * allowed else "warned"
    return [Finding("magnification", told, action, _focus_cure(geometry, motion))]


def _otherwise_turned(scan: Scan, motion: ShadowMotion) -> list[Finding]:
    """Whether the shadow moves in another direction than against the probe."""
    turned = -np.array(motion.px_per_m) * motion.metres_per_px
    if float(np.trace(turned)) / 2 > math.cos(math.radians(15)):
        return []
    likeness = {cure: float((turned * np.array(turn)).sum()) / 2 for cure, turn in TURNS.items()}
    best = max(likeness, key=likeness.__getitem__)
    if likeness[best] > math.cos(math.radians(15)):
        cure = best
        if best == "--position-sign":
            cure += " probe" if scan.provenance.get("position_sign") == "sample" else " sample"
    else:
        cure = "find the angle: exitwave info SCAN --auto-orient"
    told = "the sample's shadow does not move against the probe: frames and positions are turned against each other"
    return [Finding("shadow-turned", told, "warned", cure)]


def _not_near(scan: Scan, motion: ShadowMotion) -> list[Finding]:
    """Whether patterns stay where a shadow would have to move: light from a focus on the sample, seen from far away."""
    geometry = scan.geometry
    pixel_y, pixel_x = scan.object_pixel_m
    # From one point of the sample light reaches no further over the detector than this.
    spread_px = geometry.wavelength_m * geometry.effective_distance_m / (pixel_y * pixel_x)
    stays = motion.staying > STAYS * math.sqrt(motion.pairs / 2) and motion.certainty < NO_MOTION
    # No near-field scan has steps so short; with longer ones the expected motion would be seen, were it there.
    unlike = step_px(scan) < SHORT_STEP_PX or motion.staying > 4 * motion.as_near_field
    if not (stays and unlike) or spread_px > 0.5 * motion.beam_px:
        return []
    told = "the patterns stay where they are when the stage moves: these are far-field frames, but they are read as near field"
    return [Finding("regime", told, "refused", "leave out --focus-distance-m")]


def _focus_cure(geometry: Geometry, motion: ShadowMotion) -> str:
    if magnification(geometry, motion) < 1 / MISREAD:
        return "check --position-unit and --detector-pixel-m: a shadow is never smaller than the sample"
    return f"--focus-distance-m {focus_distance_m(geometry, motion):.3g}"
