"""Single patterns (CDI) of printed objects as they are measured: beam stop and arms, photons, background, coherence, and so on.

Each row is `cdi` with its defaults on one kind of pattern, with the support as it is, within a circle, and unknown:
correlation with the truth after shift and twin (phases aside, where the beam's centre is off), of the image and of how many
of its starts 0.9 was reached, the free residual, and the verdict. Options were chosen on other seeds than those measured.
"""

import tempfile
import time
from pathlib import Path
from typing import Annotated

from torch import Tensor

import exitwave as ew
from exitwave.evaluation.cdi_alignment import register_twin
from harness.command_line import Seeds
from harness.printed_objects import Flaws, Printed, printed
from harness.printed_patterns import stated_support
from harness.tables import Row, shown

CASES: dict[str, dict] = {
    "letters and dots": {"kind": "letters and dots"},
    "about 7,500 pixels": {"kind": "full"},
    "letters": {"kind": "letters"},
    "dots": {"kind": "dots"},
    "grating": {"kind": "grating"},
    "parts": {"kind": "parts"},
    "badge": {"kind": "badge"},
    "oversampling 3": {"oversampling": 3.0, "flaws": Flaws(stop_px=14)},
    "oversampling 8": {"oversampling": 8.0, "flaws": Flaws(stop_px=36)},
    "no beam stop": {"flaws": Flaws(stop_px=0, arms_rad=())},
    "stop of 6 speckles": {"flaws": Flaws(stop_px=30)},
    "three arms": {"flaws": Flaws(arms_rad=(0.1, 1.9, 4.0), arm_px=9)},
    "1e6 photons": {"flaws": Flaws(photons=1e6)},
    "1e7 photons": {"flaws": Flaws(photons=1e7)},
    "1e10 photons": {"flaws": Flaws(photons=1e10)},
    "background": {"flaws": Flaws(background=3.0)},
    "200 pixels saturated": {"flaws": Flaws(saturated=200)},
    "centre off": {"flaws": Flaws(off_px=(0.4, -1.3))},
    "partial coherence": {"flaws": Flaws(blur_px=0.7)},
    "symmetrised": {"flaws": Flaws(symmetrised=True)},
    "phases of 1 rad": {"phase": 1.0},
}
"""What differs from letters and dots, five times oversampled, behind a stop of 4.4 speckles with two arms, 1e9 photons."""
GIVEN = ("support", "circle", "nothing")
KEY = ("case", "given", "seed")
REACHED = 0.9


def run(
    *,
    seeds: Seeds = (101,),
    cases: Annotated[tuple[str, ...], "only these cases"] = (),
    given: Annotated[tuple[str, ...], "only with these supports: support, circle, nothing"] = GIVEN,
    frame_px: Annotated[int, "rows and columns"] = 512,
    starts: Annotated[int, "random starts"] = 5,
) -> list[Row]:
    """One row for each case, kind of support and seed."""
    rows: list[Row] = []
    for name, told in CASES.items():
        for seed in seeds if not cases or name in cases else ():
            made = printed(**{"kind": "letters and dots", **told}, seed=seed, frame_px=frame_px)
            for how in given:
                row = {"case": name, "given": how, "seed": seed, **judged(made, how, starts)}
                rows.append(row)
                shown(row)
    return rows


def judged(made: Printed, given: str, starts: int) -> Row:
    """The figures of one reconstruction."""
    found: dict[str, Tensor] = {}
    with tempfile.TemporaryDirectory() as folder:
        setup = ew.Setup(support=stated_support(made, given, Path(folder)))
        begun = time.perf_counter()
        try:
            result = ew.reconstruct(
                made.pattern,
                ew.CDI(starts=starts, keep=starts),
                setup=setup,
                watch=lambda step, _: found.update(step.state),
            )
        except ew.InputError as refusal:
            return {"refused": str(refusal)[:60]}
    each = [found[f"best_of.found.{number}.object"] for number in range(starts)]
    found_by = [correlation(obj, made.truth) for obj in each]
    verdict = getattr(result, "verdict", None)
    return {
        "correlation": correlation(result.estimate.object, made.truth),
        "starts_right": sum(value >= REACHED for value in found_by),
        "starts": starts,
        "residual": result.residual,
        "free_residual": result.free_residual,
        "verdict": None if verdict is None else verdict.grade,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def correlation(obj: Tensor, truth: Tensor) -> float:
    """With the truth, after shift and twin."""
    return register_twin(obj, truth).correlation
