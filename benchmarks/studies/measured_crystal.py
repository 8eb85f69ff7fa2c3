"""The measured gold crystal (34-ID-C): whole runs of cdi with different seeds, and the network before and after iterations.

Frames are examined and cut as for any user, at all defaults; the residual, sum (|F| - A)^2 / sum A^2, was never tuned on. There is
no truth. So it is judged without the residual, too: the log-likelihood of voxels held out (free), how far starts agree, and how
two whole runs agree that have nothing but the data in common (`agreement`): correlation of amplitudes, shells (FSC), PRTF, size.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import exitwave as ew
from harness import subprocess_run
from harness.command_line import Parts, Seeds
from harness.tables import Part, Row, measured, shown

CRYSTAL = Path(__file__).parents[3] / "shared" / "data" / "bcdi_au_34idc_S0054.h5"
THREADS = 2
WAYS: Mapping[str, Any] = {
    "cdi": ew.CDI(),
    "one start of 600 iterations": ew.CDI(starts=1, keep=1, hio=160, finish=0, polish=0),
    "network": ew.AutoPhaseNN(),
    "network + 50 er": ew.chain(ew.AutoPhaseNN(), ew.ER(epochs=50, shrink_every=0)),
    "network + 80 hio + 20 er": ew.chain(
        ew.AutoPhaseNN(),
        ew.HIO(epochs=80, threshold=0.12, sigma_start_px=1.0),
        ew.ER(epochs=20, shrink_every=0),
    ),
}
"""What is compared; cdi at its defaults."""


def run(
    *,
    parts: Parts = (),
    seeds: Seeds = (0, 1),
    folder: Annotated[Path, "where the results are kept"] = Path("measured_crystal"),
) -> Iterator[Part] | None:
    """Single runs, and the agreement of the whole ones."""
    if not CRYSTAL.exists():
        print(f"skipped: {CRYSTAL.name} is not here")
        return None
    folder.mkdir(parents=True, exist_ok=True)

    def runs() -> list[Row]:
        """Each way by itself; cdi with every seed."""
        return _runs(seeds, folder)

    def agreement() -> list[Row]:
        """Of the whole runs with one another."""
        return _agreement(seeds, folder)

    return measured({"runs": runs, "agreement": agreement}, parts)


def _runs(seeds: Sequence[int], folder: Path) -> list[Row]:
    rows: list[Row] = []
    for way in WAYS:
        for seed in seeds if way == "cdi" else seeds[:1]:
            case = {"way": way, "seed": seed, "output": str(_path(folder, way, seed))}
            row = subprocess_run.call("studies.measured_crystal:measure", case, THREADS)
            rows += [shown(row)] if row else []
    return rows


def _agreement(seeds: Sequence[int], folder: Path) -> list[Row]:
    paths = [str(_path(folder, "cdi", seed)) for seed in seeds]
    row = subprocess_run.call("studies.measured_crystal:compared", {"paths": paths}, THREADS)
    return [row] if row else []


def _path(folder: Path, way: str, seed: int) -> Path:
    return folder / f"{way.replace(' ', '_')}_{seed}.h5"


def measure(way: str, seed: int, output: str) -> Row:
    """One run."""
    began = time.perf_counter()
    result = ew.reconstruct(str(CRYSTAL), WAYS[way], setup=ew.Setup(seed=seed, device="cpu"), progress=False)
    seconds = time.perf_counter() - began
    ew.write(result, output, overwrite=True)
    assert isinstance(result.estimate, ew.BraggEstimate)
    assert result.verdict is not None
    told = result.verdict.evidence
    names = ("free-llk", "starts-correlation", "first-mode", "noise-ratio")
    return {
        "way": way,
        "seed": seed,
        "voxels": "x".join(map(str, result.estimate.object.shape)),
        "residual": result.residual,
        "free_residual": result.free_residual,
        **{name.replace("-", "_"): told.get(name) for name in names},
        "support_voxels": int(result.estimate.support.sum()),
        "verdict": result.verdict.grade,
        "seconds": seconds,
    }


def compared(paths: list[str]) -> Row:
    """How far whole runs agree."""
    results = [ew.read_result(path) for path in paths]
    size = ew.crystal_size(results)
    return {
        "runs": len(results),
        **ew.compare_crystals(results).metrics,
        **{f"size {name}": value for name, value in asdict(size).items()},
        "lattice_parameter_m": ew.lattice_parameter_m(results[0], (1, 1, 1)),
    }
