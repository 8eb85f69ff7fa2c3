"""exitwave info SCAN"""

import json
import math
import shlex
import sys
from dataclasses import asdict
from functools import singledispatch
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli import next_command
from exitwave.cli.arguments import Prepare, Reading, ScanPath
from exitwave.cli.lengths import angle, length, pair
from exitwave.data.errors import InputError
from exitwave.data.geometry import noise_of
from exitwave.data.progress import phase
from exitwave.data.scan import Scan
from exitwave.io.files import read_prepared
from exitwave.io.memory import scratch, size
from exitwave.problems.examination.regime import REPEATING
from exitwave.problems.inspection import Inspection, RockingInspection, ScanInspection, inspect
from exitwave.problems.setup import FrameNumbers, Memory, frame_numbers
from exitwave.running.pose import allowed_bytes, choose_device

WORDS = {"cured": "! cured", "warned": "! check", "refused": "! stops a run"}
"""What becomes of a finding."""


def info(
    scan: ScanPath,
    /,
    *,
    auto_orient: Annotated[
        bool,
        Parameter(
            help="Find on some frames how the stage lies against the detector: orientation, sign, angle, stretch.",
            negative="",
        ),
    ] = False,
    as_json: Annotated[bool, Parameter(name="--json", help="Print one JSON object.", negative="")] = False,
    as_is: Annotated[
        bool, Parameter(help="Describe the data as they are, without the examination.", negative="")
    ] = False,
    drop_frames: Annotated[FrameNumbers | None, Parameter(help="Frames to leave out, such as 60,61 or 10-19.")] = None,
    keep_frames: Annotated[
        FrameNumbers | None, Parameter(help="Frames to keep that the examination would leave out.")
    ] = None,
    noise_threshold: Annotated[
        float | None, Parameter(help="Of a rocking curve: counts below are set to zero; 0 keeps all.")
    ] = None,
    keep_aliens: Annotated[
        bool, Parameter(help="Of a rocking curve: keep scattering of other crystals.", negative="")
    ] = False,
    memory: Annotated[
        Memory | None, Parameter(help="Say what a reconstruction with this --memory would hold, such as 8GB.")
    ] = None,
    save_job: Annotated[
        Path | None,
        Parameter(
            help="Write a job (YAML) that reconstructs the scan as it was read here, with the cures, for exitwave run."
        ),
    ] = None,
    reading: Reading = None,
    prepare: Prepare = (),
) -> None:
    """What a scientist checks first: geometry, overlap, photons, bad pixels, and what looks wrong with its cure."""
    if save_job is not None:
        next_command.require_new(save_job)
    loaded = read_prepared(scan, reading, prepare)
    dropped, kept = frame_numbers(drop_frames), frame_numbers(keep_frames)
    with phase("examining the frames"):
        found = inspect(
            loaded,
            drop_frames=dropped,
            keep_frames=kept,
            noise_threshold=noise_threshold,
            keep_aliens=keep_aliens,
            as_is=as_is,
        )
    if as_json:
        print(json.dumps(asdict(found), indent=2, default=str))
    else:
        print(described(found, allowed_bytes(memory, choose_device())))
    verdict, cures = "", list(found.cures)
    if auto_orient:
        if not isinstance(loaded, Scan):
            raise InputError(f"orientations can be told apart for a scan only; this is {loaded.title}")
        verdict, options = _oriented(loaded)
        cures += options
    setup = {
        "--drop-frames": drop_frames,
        "--keep-frames": keep_frames,
        "--noise-threshold": noise_threshold,
        "--memory": memory,
    }
    more = [word for option, value in setup.items() if value is not None for word in (option, str(value))]
    words = next_command.words_for(
        scan, reading, prepare, cures, [*more, *["--keep-aliens"] * keep_aliens, *["--as-is"] * as_is]
    )
    told = sys.stderr if as_json else sys.stdout
    if save_job is not None:
        next_command.save(save_job, words, loaded)
        print(f"{'job':16} {save_job}; run it with: exitwave run {shlex.quote(str(save_job))}", file=told)
    elif not as_json:
        print(f"{'to reconstruct':16} {next_command.line(words)}")
    if verdict:
        print(f"{'verdict':16} {verdict}", file=told)


def described(i: Inspection, allowed: int) -> str:
    """The inspection as aligned lines with units, and what fits into the memory that is allowed, bytes."""
    least, median, most = i.photons_per_frame
    beam = "near field" if i.magnification == 1 else f"near field, magnification {i.magnification:.4g}"
    seen = "probe" if isinstance(i, ScanInspection) else "object, by its autocorrelation"
    rows = [
        ("file", f"{i.provenance.get('file', '-')} ({i.provenance.get('format', '-')})"),
        ("frames", f"{i.frames} of {i.frame_shape[0]} x {i.frame_shape[1]} pixels"),
        *_beam(i),
        ("regime", i.regime if i.regime == "far field" else beam),
        ("object pixel", pair(i.object_pixel_m, i.particle)),
        *own_rows(i),
        ("oversampling", "-" if i.oversampling is None else f"{i.oversampling:.2f} (frame / {seen})"),
        (
            "photons" if i.particle == "photon" else "dose",
            f"{least:.4g} / {median:.4g} / {most:.4g} {'' if i.particle == 'photon' else 'electrons '}a frame "
            f"(least / median / most){_per_area(i)}",
        ),
        ("brightest pixel", f"{i.brightest_pixel:.6g}"),
        (
            "pixels",
            f"{i.untrusted_pixels} untrusted, {i.dead_pixels} dead, {i.hot_pixels} hot, {i.saturated_pixels} saturated",
        ),
        *_mask(i),
        ("beam offset", f"{i.beam_offset_px[0]:+.2f}, {i.beam_offset_px[1]:+.2f} px (y, x)"),
        *_memory(i, allowed),
    ]
    text = "\n".join(f"{name:16} {value}" for name, value in rows)
    for line in i.provenance.get("preparation", ()):
        text += f"\n{'prepared':16} {line}"
    for found in i.findings:
        text += f"\n{WORDS[found.action]:16} {found.line}"
    if not i.suspicious and not i.findings:
        return text + "\nnothing suspicious"
    return text + "".join(f"\n{'! check':16} {line}" for line in i.suspicious)


def _mask(i: Inspection) -> list[tuple[str, str]]:
    """The mask that was given in a file of its own."""
    if "mask_file" not in i.provenance:
        return []
    return [("mask", f"{i.provenance['mask_file']}, good is what is {i.provenance['mask_good']}")]


def _beam(i: Inspection) -> list[tuple[str, str]]:
    """What the beam is, and where the detector stands, in so far as anybody said so."""
    reach = tuple(angle * n / 2 for angle, n in zip(i.pixel_angle_rad, i.frame_shape, strict=True))
    how = f" ({i.provenance['angles']})" if "angles" in i.provenance else ""
    seen = f"{angle(i.pixel_angle_rad)} a pixel{how}, to {angle((reach[0], reach[1]))} from the middle"
    placed = f"{length(i.distance_m)} away, pixel {pair(i.detector_pixel_m)}"
    wave = f"wavelength {length(i.wavelength_m)}"
    if i.particle == "photon":
        return [
            ("photon energy", f"{i.energy_ev / 1000:.6g} keV, {wave}"),
            ("detector", seen if i.angles_only else placed),
        ]
    disc = "" if i.disc_rad is None else f"disc of {angle((i.disc_rad, i.disc_rad))} radius in the mean pattern"
    return [
        ("electrons", f"{i.energy_ev / 1000:.6g} kV, {wave}"),
        ("detector", seen if i.angles_only else f"{seen}; camera length {length(i.distance_m)}"),
        ("probe", "; ".join(filter(None, (i.optics and f"{i.optics} stated", disc))) or "nothing stated"),
    ]


def _per_area(i: Inspection) -> str:
    """The dose on the sample, where steps make an area."""
    if i.particle == "photon" or not isinstance(i, ScanInspection) or not i.step_m:
        return ""
    return f", {i.photons_per_frame[1] / (i.step_m * 1e10) ** 2:.4g} a square angstrom"


@singledispatch
def own_rows(i: Inspection) -> list[tuple[str, str]]:
    """What a kind of measurement has of its own to be told."""
    return []


@own_rows.register
def _(i: ScanInspection) -> list[tuple[str, str]]:
    guessed = _or_nothing(", {:.1%} of the probe (guessed)", i.overlap_probe)
    return [
        ("object", f"{i.object_shape[0]} x {i.object_shape[1]} pixels; positions span {pair(i.span_m, i.particle)}"),
        ("shadow", _moving(i)),
        ("step", f"{i.step_px:.4g} object pixels between neighbours, {length(i.step_m, i.particle)}"),
        ("overlap", f"{i.overlap_array:.1%} of the window{guessed}"),
        ("position sign", str(i.provenance.get("position_sign", "-")) + " positions in the file"),
    ]


@own_rows.register
def _(i: RockingInspection) -> list[tuple[str, str]]:
    missing = f", {i.voxels - i.lit_voxels - i.untrusted_voxels} without a count" if i.lit_voxels < i.voxels else ""
    return [
        ("Bragg peak", f"{i.peak_counts:.6g} counts at {i.peak} (frame, row, column)"),
        ("lattice", f"|Q| = {i.q_per_m * 1e-10:.4f} per angstrom, planes {i.spacing_m * 1e10:.4f} angstrom apart"),
        ("rocked", f"{i.rocked}, {math.degrees(i.range_rad):.4g} deg in steps of {math.degrees(i.step_rad):.4g} deg"),
        ("fringes", f"{' / '.join(f'{s:.2f}' for s in i.sampled)} voxels each, along frames / rows / columns"),
        ("crystal", f"about {' x '.join(length(size) for size in i.crystal_m)}, along the axes of its array"),
        ("voxels", f"{i.voxels}, of which {i.untrusted_voxels} untrusted{missing}; {i.aliens} aliens among them"),
    ]


def _moving(i: ScanInspection) -> str:
    """What the shadow of the sample does when the stage moves."""
    if any(found.name == REPEATING for found in i.findings):
        return "moves with the stage, but how far cannot be told: the sample repeats itself"
    if i.moving_magnification is None:
        return "does not move with the stage as far as frames tell: far field, or too little contrast"
    if i.particle == "electron" and i.shadow_defocus_m is not None:
        return f"moves with the stage, as with a defocus of {length(i.shadow_defocus_m, i.particle)}"
    told = f"moves with the stage, magnified {i.moving_magnification:.4g} times"
    defocused = i.regime == "far field" and not any(found.name == "regime" for found in i.findings)
    return f"{told}: the probe is out of focus" if defocused else told


def _memory(i: Inspection, allowed: int) -> list[tuple[str, str]]:
    """What a reconstruction takes, and where what does not fit will be."""
    cached = "held in memory" if i.memory.cached(allowed) else "read anew in every epoch, as they do not fit"
    rows = [
        (
            "memory",
            f"{size(allowed)} may be taken; {size(i.memory.working)} for object, probe and waves being worked on",
        ),
        ("amplitudes", f"{size(i.memory.amplitudes)}, {cached}"),
    ]
    # No method for one pattern holds exit waves.
    if isinstance(i, ScanInspection):
        folder, free, _ = scratch()
        fits = i.memory.fit_waves(allowed)
        where = "in memory" if fits else f"in temporary files in {folder}, where {size(free)} are free"
        # Which solvers these are only the solvers know, and to import them all takes half a second.
        told = f"{size(i.memory.waves)} for each probe mode with a solver that holds them (dm, raar), {where}"
        rows.append(("exit waves", told))
    return rows


def _oriented(scan: Scan) -> tuple[str, list[str]]:
    """Tell how the stage lies; the verdict in a line, and the words that read the scan so where that is sure."""
    # Not needed for anything else.
    from exitwave.problems.frame_lag import frame_lag
    from exitwave.running.orientation import find_orientation

    found = find_orientation(scan, progress=lambda what: print(f"auto-orient: {what} ...", file=sys.stderr, flush=True))
    print(f"\n{'orientation':16} {found.words} (relative to the scan as read)")
    noise = f"; {noise_of(scan.geometry.particle)} alone leaves about {found.noise:.3g}" if found.noise else ""
    print(
        f"{found.judged_by:16} {found.residual:.4g}; as read {found.as_read:.4g}; next best way to lay the frames "
        f"{found.runner_up:.4g}{noise}"
    )
    angle_known = f", the angle to {math.degrees(found.deviation):.2g} deg" if found.judged_by == "curl" else ""
    print(f"{'sure':16} {'yes' + angle_known if found.sure else 'no: ' + '; '.join(found.doubts)}")
    if options := found.options(scan):
        print(f"{'to read it so':16} {' '.join(options)}")
    if lag := frame_lag(found.applied(scan)).lag:
        print(
            f"{'! check':16} frames belong to the position {'after' if lag > 0 else 'before'} their own: one is missing or too many"
        )
    if not scan.geometry.near_field:
        print("far field: turned by 180 degrees it fits as well, with the other sign of the phase")
    if not found.sure:
        return f"not sure how the stage lies: {'; '.join(found.doubts)}; look at images of both", []
    if not options:
        return "sure: frames and positions fit as they are read", []
    return f"sure: {found.words}; read it with {' '.join(options)}", [word for o in options for word in o.split(" ", 1)]


def _or_nothing(template: str, value: float | None) -> str:
    return "" if value is None else template.format(value)
