"""Checks of a scan: layout, photons, positions; each fault with its cure."""

import math

import torch
from scipy.spatial import KDTree

from exitwave.data.errors import InputError
from exitwave.data.geometry import sensible_pixel
from exitwave.data.scan import Scan
from exitwave.data.statistics import ScanStatistics


def check(scan: Scan, seen: ScanStatistics) -> None:
    """Refuse a scan that cannot give an image. Raises InputError with what was found, what was expected, what to do."""
    check_layout(scan)
    check_frames(seen)


def check_layout(scan: Scan) -> None:
    """The part of `check` that needs no frames: mask, number of frames, positions."""
    if not bool(scan.mask.any()):
        raise InputError("the mask trusts no pixel at all; masks are True where the detector is good: invert it")
    if len(scan) < 2:
        raise InputError(
            f"{len(scan)} frame is not a ptychography scan; expected several overlapping positions. One pattern of an isolated object "
            "is a Pattern"
        )
    check_positions(scan)


def check_frames(seen: ScanStatistics) -> None:
    """The part of `check` that is about photons. Raises InputError for frames that cannot be counts, or are dark."""
    check_counts(seen)
    dark = (seen.photons_per_frame <= 0).nonzero().flatten()
    if len(dark):
        listed = ", ".join(str(int(seen.looked_at[i])) for i in dark[:5]) + (" ..." if len(dark) > 5 else "")
        raise InputError(
            f"{len(dark)} of {len(seen.photons_per_frame)} frames are empty (nothing is counted): {listed}; "
            "leave them out with the preparation step drop_empty"
        )


def check_counts(seen: ScanStatistics) -> None:
    """Whether these are counts of photons at all. Raises InputError where they cannot be, or all frames are dark."""
    for count, what, cure in (
        (seen.not_finite, "not finite (NaN or infinite)", "mask these pixels or leave the frames out"),
        (seen.negative, "negative", "counts cannot be; set them to zero with the preparation step threshold: 0"),
    ):
        bad = count.nonzero().flatten()
        if len(bad):
            first = int(seen.looked_at[bad[0]])
            raise InputError(
                f"{len(bad)} of {len(count)} frames hold pixels that are {what}, the first is frame {first} with "
                f"{int(count[bad[0]])} of them; {cure}"
            )
    if bool((seen.photons_per_frame <= 0).all()):
        raise InputError(
            "every frame is empty: nothing is counted in any trusted pixel; check the dataset path and the mask"
        )


LARGEST_SPAN_PX = 1e9
"""Beyond any object; distances still square without overflow."""


POSITION_UNITS_M = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "angstrom": 1e-10}


def check_positions(scan: Scan) -> None:
    """Refuse positions that are not finite, repeated, or far from any sensible step; say which unit would fit."""
    positions = scan.positions_m
    bad = (~torch.isfinite(positions)).any(dim=1).nonzero().flatten()
    if len(bad):
        raise InputError(
            f"{len(bad)} of {len(positions)} positions are not finite (NaN or infinite), the first is that of frame "
            f"{int(bad[0])}; leave these frames out (--drop-frames), or repair the positions"
        )
    if not sensible_pixel(scan.object_pixel_m):
        raise InputError(
            f"the object pixel that follows from the geometry is {scan.object_pixel_m[0]:.3g} x {scan.object_pixel_m[1]:.3g} m; "
            "expected picometres to millimetres: check --energy-ev, --distance-m, --detector-pixel-m and --focus-distance-m"
        )
    pixel = torch.tensor(scan.object_pixel_m, dtype=torch.float64)
    span_px = (positions.amax(dim=0) - positions.amin(dim=0)) / pixel
    if not float(span_px.max()) < LARGEST_SPAN_PX:
        raise InputError(
            f"positions span {float(span_px.max()):.3g} pixels of {_length(scan.object_pixel_m[1])}; expected some thousands. "
            + _unit_advice(scan)
        )
    if float(span_px.max()) < 1:
        raise InputError(
            f"positions span {float(span_px.max()):.3g} pixels of {_length(scan.object_pixel_m[1])}; expected many. "
            + _unit_advice(scan)
        )
    step = step_px(scan)
    if step > max(scan.frame_shape):
        raise InputError(
            f"neighbouring positions are {step:.4g} object pixels apart (pixel {_length(scan.object_pixel_m[1])}) but a "
            f"frame covers only {max(scan.frame_shape)}: no two frames overlap. " + _unit_advice(scan)
        )
    distinct = torch.unique(scan.places, dim=0)
    if len(distinct) < len(positions):
        raise InputError(
            f"{len(positions) - len(distinct)} of {len(positions)} positions repeat another exactly; if the stage really "
            "stood still, keep one of each with the preparation step drop_duplicates, else repair the positions"
        )


def step_px(scan: Scan) -> float:
    """Typical distance between neighbouring positions in object pixels: median nearest-neighbour distance."""
    positions_px = scan.positions_m / torch.tensor(scan.object_pixel_m, dtype=torch.float64)
    points = torch.unique(positions_px[positions_px.isfinite().all(dim=1)], dim=0).numpy()
    if len(points) < 2:
        return 0.0
    distances, _ = KDTree(points).query(points, k=2)
    return float(torch.from_numpy(distances[:, 1]).median())


def _unit_advice(scan: Scan) -> str:
    """Which unit or energy would give a sensible step; the likeliest first."""
    usual, energy = 0.2 * min(scan.frame_shape), scan.geometry.energy_ev
    used = str(scan.provenance.get("position_unit", "m"))
    used_m = POSITION_UNITS_M.get(used, scan.object_pixel_m[1])
    cures = [
        (size_m / used_m, f"positions in {unit}: --position-unit {unit}") for unit, size_m in POSITION_UNITS_M.items()
    ]
    # The object pixel goes with the wavelength, the step in pixels therefore with the energy.
    cures += [
        (f, f"an energy of {energy * f:.4g} eV instead of {energy:.4g} eV: --energy-ev")
        for f in (1e-3, 1e3)
        if 50 < energy * f < 2e6
    ]
    step = step_px(scan)
    fitting = [(abs(math.log(step * f / usual)), cure) for f, cure in cures if 0.05 < step * f / usual < 4.5 and f != 1]
    if fitting:
        return "What would fit: " + ", or ".join(cure for _, cure in sorted(fitting))
    return (
        f"Check the unit of the positions, the photon energy ({energy:.4g} eV), the distance "
        f"({scan.geometry.distance_m:.4g} m) and the detector pixel ({_length(scan.geometry.detector_pixel_m[1])})"
    )


def _length(metres: float) -> str:
    for scale, unit in ((1.0, "m"), (1e-3, "mm"), (1e-6, "um"), (1e-9, "nm"), (1e-12, "pm")):
        if metres >= scale:
            return f"{metres / scale:.4g} {unit}"
    return f"{metres:.3g} m"
