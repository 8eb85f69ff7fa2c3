"""Files as exitwave 0.1.0 wrote them, which later versions must read and go on from.

Made with exitwave 0.1.0, in an empty folder outside the checkout, and copied here:

    OMP_NUM_THREADS=1 python make.py

Binary files are packed by xz (HDF5 is mostly empty in files so small); unpacked they are what 0.1.0 wrote, to the last byte.
Do not make them anew with a later version: they are here because they are old.
"""

import lzma
import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from exitwave.job import Job

import exitwave as ew
from exitwave.cli import answer

SOLVERS: list[dict[str, Any]] = [
    {
        "name": "adam",
        "epochs": 7,
        "object_rate": 0.04,
        "probe_rate": 0.02,
        "noise": "poisson",
        "tv": 0.01,
        "isotropic": False,
        "l1": 0.002,
        "settle": 0.4,
        "batch": 5,
        "probe_start": 2,
        "update_probe": False,
    },
    {
        "name": "lbfgs",
        "epochs": 7,
        "noise": "gaussian",
        "tv": 0.01,
        "isotropic": False,
        "l1": 0.002,
        "alpha": 0.2,
        "pairs": 6,
        "probe_start": 2,
        "update_probe": False,
    },
    {
        "name": "local",
        "epochs": 2,
        "iterations": 15,
        "group": 4,
        "shared": 1,
        "batch": 2,
        "update_probe": False,
        "probe_gain": 0.6,
    },
    {
        "name": "lsqml",
        "epochs": 7,
        "batch": 5,
        "grouping": "compact",
        "regularisation": 0.2,
        "damping": 0.4,
        "momentum": 0.6,
        "probe_start": 2,
        "update_probe": False,
        "settle": 0.4,
    },
    {
        "name": "rpie",
        "epochs": 7,
        "alpha": 0.06,
        "beta": 0.4,
        "object_gain": 0.9,
        "probe_gain": 0.8,
        "probe_start": 2,
        "update_probe": False,
        "settle": 0.3,
        "batch": 5,
    },
    {
        "name": "epie",
        "epochs": 7,
        "object_gain": 0.9,
        "probe_gain": 0.8,
        "probe_start": 2,
        "update_probe": False,
        "settle": 0.3,
        "batch": 5,
    },
    {
        "name": "mpie",
        "epochs": 7,
        "alpha": 0.2,
        "beta": 0.7,
        "object_gain": 0.4,
        "probe_gain": 0.6,
        "friction": 0.8,
        "feedback": 0.4,
        "momentum_every": 20,
        "probe_start": 2,
        "update_probe": False,
        "settle": 0.3,
        "batch": 5,
    },
    {
        "name": "dm",
        "epochs": 7,
        "alpha": 0.9,
        "relax": 0.2,
        "finish": 3,
        "inertia": 0.2,
        "probe_start": 2,
        "update_probe": False,
    },
    {
        "name": "raar",
        "epochs": 7,
        "beta": 0.8,
        "relax": 0.1,
        "finish": 3,
        "inertia": 0.2,
        "probe_start": 2,
        "update_probe": False,
    },
    {"name": "ap", "epochs": 7, "inertia": 0.2, "probe_gain": 0.8, "probe_start": 2, "update_probe": False},
    {
        "name": "apg",
        "epochs": 7,
        "noise": "poisson",
        "weight": 0.9,
        "inertia": 0.2,
        "probe_start": 2,
        "update_probe": False,
    },
    {
        "name": "newton",
        "epochs": 7,
        "approach": 5,
        "slow_gain": 0.7,
        "alpha": 0.2,
        "beta": 0.7,
        "damping": 0.03,
        "history": 4,
        "probe_start": 1,
        "update_probe": False,
        "batch": 5,
    },
    {
        "name": "wasp",
        "epochs": 7,
        "alpha": 1.9,
        "beta": 0.9,
        "brightest": 3.0,
        "recentre": False,
        "probe_start": 2,
        "update_probe": False,
        "batch": 3,
    },
    {"name": "wf", "epochs": 7, "alpha": 0.9, "rms_start": True, "probe_start": 2, "update_probe": False},
    {
        "name": "awf",
        "epochs": 7,
        "alpha": 0.2,
        "restart": False,
        "rms_start": True,
        "probe_start": 2,
        "update_probe": False,
    },
    {"name": "ensemble", "member": {"name": "rpie", "epochs": 7}, "size": 3},
    {
        "name": "refined",
        "solver": {"name": "mpie", "epochs": 7},
        "positions": True,
        "reach_px": 2.5,
        "variations": 1,
        "brightness": True,
        "background": True,
        "spacing": True,
        "start": 3,
        "settle": 6,
        "every": 2,
        "orthogonalise": False,
        "probe_support": 0.8,
        "centre_probe": True,
        "keep_probe_power": True,
        "most_amplitude": 1.2,
        "phase_only": True,
    },
    {
        "name": "ptychonn",
        "weights": "../networks/encoder",
        "epochs": 3,
        "finetune": 2,
        "network": "unet",
        "group": 4,
        "nearest": 6,
        "samples": 2,
        "stages": 3,
        "width": 0.5,
        "approach": 3,
        "translation": "bilinear",
        "learn_scale": True,
        "batch": 16,
        "learning_rate": 0.002,
        "schedule": "plateau",
        "averaging": 0.9,
        "precision": "32",
        "together": 64,
        "runtime": "onnx",
        "prediction_precision": "bf16",
    },
    {
        "name": "ptychopinn",
        "weights": "../networks/unet",
        "epochs": 3,
        "finetune": 2,
        "network": "encoder",
        "group": 4,
        "nearest": 6,
        "samples": 2,
        "stages": 3,
        "width": 0.5,
        "approach": 3,
        "translation": "bicubic",
        "learn_scale": True,
        "batch": 16,
        "learning_rate": 0.002,
        "schedule": "plateau",
        "averaging": 0.9,
        "precision": "32",
        "together": 64,
        "runtime": "openvino",
        "prediction_precision": "bf16",
        "loss": "poisson",
        "thinning": 0.2,
    },
]
"""Every ptychographic method with every option at a value that is not its default."""

WRAPPED = {"shrink_every": 10, "sigma_start_px": 2.5, "sigma_end_px": 1.2, "threshold": 0.15}
ONE_PATTERN: list[dict[str, Any]] = [
    {"name": "er", "epochs": 7, **WRAPPED},
    {"name": "hio", "epochs": 7, "beta": 0.8, **WRAPPED},
    {"name": "cdi_raar", "epochs": 7, "beta": 0.9, **WRAPPED},
    {"name": "cdi", "starts": 3, "keep": 1, "cycles": 2, "er": 5, "hio": 10, "finish": 6, "beta": 0.8, **WRAPPED},
    {"name": "best_of", "member": [{"name": "er", "epochs": 3}, {"name": "hio", "epochs": 5}], "starts": 3, "keep": 1},
]
EVERY_KEY: dict[str, Any] = {
    "refine_positions": True,
    "position_error_px": 2.5,
    "variations": 2,
    "refine_brightness": True,
    "refine_background": True,
    "slices": 2,
    "slice_spacing_m": 1e-4,
    "refine_spacing": True,
    "exposure_m": [1e-7, 2e-7],
    "exposure_points": 4,
    "probe_support": 0.8,
    "centre_probe": True,
    "keep_probe_power": True,
    "most_amplitude": 1.2,
    "phase_only": True,
    "refine_every": 2,
    "modes": 2,
    "start": "../results/refined.h5",
    "probe": "../results/modes.h5",
    "seed": 3,
    "device": "cpu",
    "memory": "2GB",
    "free_fraction": 0.05,
    "stop_residual": 1e-5,
    "patience": 20,
    "checkpoint_every": 4,
    "resume": True,
    "scan": "../scan.cxi",
    "solver": {"name": "rpie", "epochs": 7},
    "output": "every_key.h5",
    "reading": {
        "format": "hdf5",
        "recipe": "recipe.yaml",
        "positions": "positions.csv",
        "energy_ev": 8100.0,
        "distance_m": 2.1,
        "detector_pixel_m": [7e-5, 8e-5],
        "focus_distance_m": 0.01,
        "position_sign": "sample",
        "position_unit": "um",
        "swap_axes": True,
        "orientation": "fliplr",
        "values": "amplitude",
    },
    "prepare": [{"orient": "rot180"}, {"threshold": 2.0}, "drop_empty"],
}
STEPS: list[Any] = [
    "to_memory",
    {"orient": {"orientation": "rot180"}},
    {"pad": 20},
    {"crop": {"size": [18, 18], "centre": [10, 10]}},
    {"recentre": {"centre": [9, 9], "sample": 4}},
    {"crop": 16},
    {"bin": 2},
    {"mask_saturated": {"level": 1e7}},
    {"mask_hot": {"times": 50.0}},
    {"mask_dead": {"lit": 1e4}},
    "subtract_background",
    {"threshold": {"below": 2.0}},
    "normalise_by_monitor",
    {"select": "0:10"},
    {"select": [0, 1, 2, 3, 4, 5, 6, 8]},
    "drop_empty",
    "drop_duplicates",
]
"""Every preparation step with every argument."""
REFINING: dict[str, Any] = {
    "scan": "../scan.cxi",
    "output": "refined.h5",
    "solver": {"name": "rpie", "epochs": 7, "settle": 0.2},
    "refine_positions": True,
    "position_error_px": 1.5,
    "variations": 1,
    "refine_brightness": True,
    "refine_background": True,
    "most_amplitude": 1.3,
    "refine_every": 2,
    "free_fraction": 0.1,
    "seed": 2,
}
CHAIN: dict[str, Any] = {
    "scan": "../scan.cxi",
    "output": "chain.h5",
    "solver": [{"name": "rpie", "epochs": 4}, {"name": "mpie", "epochs": 5, "momentum_every": 6}],
    "seed": 4,
}
PREPARING: dict[str, Any] = {
    "scan": "../scan.cxi",
    "output": "prepared.h5",
    "prepare": STEPS,
    "solver": {"name": "rpie", "epochs": 2},
}
INTERRUPTED: dict[str, tuple[str, dict[str, Any] | list[Any], int]] = {
    "mpie": ("scan.cxi", {"name": "mpie", "epochs": 8, "momentum_every": 10}, 5),
    "newton": ("scan.cxi", {"name": "newton", "epochs": 9, "approach": 3, "history": 1}, 6),
    "adam": ("scan.cxi", {"name": "adam", "epochs": 8, "tv": 0.001}, 5),
    "dm": ("scan.cxi", {"name": "dm", "epochs": 9, "finish": 3}, 5),
    "chain": ("scan.cxi", CHAIN["solver"], 6),
    "ensemble": ("scan.cxi", {"name": "ensemble", "member": {"name": "mpie", "epochs": 4}, "size": 3}, 6),
    "refined": (
        "scan.cxi",
        {
            "name": "refined",
            "solver": {"name": "mpie", "epochs": 9},
            "positions": True,
            "reach_px": 5.0,
            "start": 2,
            "settle": 1,
            "most_amplitude": 1.1,
        },
        6,
    ),
    "best_of": (
        "pattern.cxi",
        {
            "name": "best_of",
            "member": [{"name": "hio", "epochs": 12, "shrink_every": 6}, {"name": "er", "epochs": 4}],
            "starts": 3,
            "keep": 2,
        },
        24,
    ),
    "cdi": (
        "pattern.cxi",
        {"name": "cdi", "starts": 2, "keep": 2, "cycles": 1, "er": 4, "hio": 12, "finish": 4, "shrink_every": 6},
        35,
    ),
}
"""What was interrupted: scan, solver, and the epoch after which."""


def main() -> None:
    assert version("exitwave") == "0.1.0", "made with another version"
    assert not os.listdir() or os.listdir() == [Path(__file__).name], "start in an empty folder"
    for folder in ("results", "checkpoints", "jobs", "networks"):
        Path(folder).mkdir()
    scans()
    jobs()
    results()
    checkpoints()
    networks()
    pack()


def pack() -> None:
    for path in [*Path().rglob("*.h5"), *Path().rglob("*.cxi"), *Path().rglob("*.safetensors")]:
        path.with_name(f"{path.name}.xz").write_bytes(lzma.compress(path.read_bytes(), preset=9 | lzma.PRESET_EXTREME))
        path.unlink()


def command(*words: object) -> None:
    assert answer([str(word) for word in words]) == 0, words


def scans() -> None:
    beam = ("--background", 0.02, "--drift", 0.1, "--position-error-px", 0.3)
    small = ("--frame-px", 16, "--frames", 9, "--overlap", 0.7, "--photons-per-frame", 1e5)
    command("simulate", "textured", *small, *beam, "--seed", 5, "-o", "scan.cxi")
    command("simulate", "isolated", "--frame-px", 20, "--seed", 6, "-o", "pattern.cxi")


def jobs() -> None:
    _require_every_name()
    unrun = {"scan": "../scan.cxi", "output": "never.h5"}
    written: dict[str, dict[str, Any]] = {
        "every_key": EVERY_KEY,
        "every_solver": {**unrun, "solver": SOLVERS},
        "every_solver_of_one_pattern": {**unrun, "scan": "../pattern.cxi", "solver": ONE_PATTERN},
        "preparing": PREPARING,
        "refining": REFINING,
        "chain": CHAIN,
        "network": {
            **unrun,
            "output": "network.h5",
            "solver": ["../networks/unet", {"name": "ptychopinn", "weights": "../networks/unet", "together": 4}],
            "probe": "../results/modes.h5",
        },
    }
    for name, job in written.items():
        Path(f"jobs/{name}.yaml").write_text(yaml.safe_dump(job, sort_keys=False), encoding="utf-8")


def _require_every_name() -> None:
    """Nothing that can be written into a job is left out, and every option says something."""
    from exitwave.job import STEPS as KNOWN

    stated = {spec["name"]: spec for spec in (*SOLVERS, *ONE_PATTERN)}
    assert set(stated) == set(ew.solvers()) - {"chain"}
    for name, spec in stated.items():
        for option in fields(ew.solvers()[name]):  # pyright: ignore
            assert option.name in spec, (name, option.name)
            assert option.default is MISSING or option.default != spec[option.name], (name, option.name)
    assert set(EVERY_KEY) == set(Job.__dataclass_fields__)
    assert set(EVERY_KEY["reading"]) == set(ew.Stated.__dataclass_fields__)
    assert {step if isinstance(step, str) else next(iter(step)) for step in STEPS} == set(KNOWN)


def results() -> None:
    scan, pattern = ew.read("scan.cxi"), ew.read("pattern.cxi")
    ew.write(ew.reconstruct(scan, ew.RPIE(epochs=6), modes=2, free_fraction=0.1), "results/modes.h5")
    ew.write(ew.reconstruct(scan, ew.RPIE(epochs=4), slices=2, slice_spacing_m=1e-3), "results/thick.h5")
    ew.write(ew.reconstruct(scan, ew.ensemble(ew.RPIE(epochs=4), size=3)), "results/ensemble.h5")
    ew.write(ew.reconstruct(scan, ew.QuasiNewton(epochs=6, approach=3)), "results/newton.h5")
    cdi = ew.CDI(starts=3, keep=3, cycles=1, er=5, hio=30, finish=10)
    found = ew.reconstruct(pattern, cdi)
    assert found.spread is not None, "no two starts agree: take another seed"
    ew.write(found, "results/cdi.h5")
    for name in ("refining", "chain"):
        command("run", f"jobs/{name}.yaml")
    Path("jobs/refined.h5").rename("results/refined.h5")
    Path("jobs/chain.h5").rename("results/chain.h5")


def checkpoints() -> None:
    """For each method the state in the middle of a run, and the middle of the object at the end of the same run left alone."""
    finals: dict[str, np.ndarray] = {}
    for name, (scan, spec, last) in INTERRUPTED.items():
        interrupted(ew.read(scan), spec, last, Path(f"checkpoints/{name}.h5"), seed=4)
        whole = ew.reconstruct(ew.read(scan), ew.from_spec(spec), seed=4)
        finals[name] = middle(whole.estimate.object.numpy())
    np.savez_compressed("checkpoints/finals.npz", **finals)


def middle(obj: np.ndarray) -> np.ndarray:
    """16 x 16 pixels around the middle of an object: enough to compare, and small."""
    top, left = ((size - 16) // 2 for size in obj.shape[-2:])
    return obj[..., top : top + 16, left : left + 16]


def interrupted(scan: ew.Scan, spec: Mapping[str, Any] | list[Any], last: int, path: Path, *, seed: int) -> None:
    def press(step: ew.Step[Any], problem: object) -> None:
        if step.epoch == last:
            raise KeyboardInterrupt

    kept = ew.Checkpoints(path=path, every=10**6)
    result = ew.reconstruct(scan, ew.from_spec(spec), seed=seed, checkpoints=kept, watch=press)
    # Ctrl-C comes between an epoch and its being saved: the state kept is that after this epoch.
    assert result.provenance["ending"] == f"interrupted after epoch {last}"


def networks() -> None:
    """Trained ones and one whose training was interrupted, with what each makes of the scan."""
    scan, truth = ew.read("scan.cxi"), ew.read_truth("scan.cxi")
    small = {"group": 4, "epochs": 4, "batch": 8}
    unet = ew.PtychoPINN(stages=1, width=0.25, approach=2, **small)  # pyright: ignore
    pinn = ew.train(unet, [scan], save="networks/unet", probes=[truth.probe], seed=1)
    taught = ew.PtychoNN(group=1, epochs=2, batch=4, width=0.05)
    nn = ew.train(taught, [scan], save="networks/encoder", probes=[truth.probe], labels=[truth], seed=1)

    def press(taught: ew.Taught) -> None:
        if taught.progress.epoch == 3 and taught.progress.step == 1:
            raise KeyboardInterrupt

    ew.train(unet, [scan], save="networks/unfinished", probes=[truth.probe], seed=1, watch=press)
    images = {
        name: ew.reconstruct(scan, network, probe=truth.probe).estimate.object.numpy()
        for name, network in (("unet", pinn), ("encoder", nn))
    }
    np.savez_compressed("networks/images.npz", **images)


if __name__ == "__main__":
    main()
