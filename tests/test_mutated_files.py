"""Valid files with something wrong in them, thousands of ways: a sound result, or one line and exit code 2; nothing else."""

import copy
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st

from command import assert_one_line, call, contents, done
from exitwave import read_result
from exitwave.cli.reconstruct import FAILED_CODE
from exitwave.running.job import make_job, run_job
from mutations import (
    archive_changes,
    byte_changes,
    spoil_bytes,
    spoil_hdf5,
    spoil_npz,
    tree_changes,
)

some = settings(
    max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
"""Always the same examples, so that a run is repeatable; raise max_examples and drop derandomize to look for more."""
many = settings(some, max_examples=40)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a valid file of each kind. Near field where it does not matter, which is quicker."""
    folder = tmp_path_factory.mktemp("good")
    for name, focus in (("far.cxi", ()), ("near.cxi", ("--focus-distance-m", "inf"))):
        done("simulate", "siemens", "--frames", 16, "--frame-px", 16, *focus, "-o", folder / name)
    for ending in ("nxs", "npz", "ptyd"):
        done("export", folder / "near.cxi", "-o", folder / f"near.{ending}")
    done("reconstruct", folder / "near.cxi", "rpie", "--epochs", 2, "-o", folder / "result.h5")
    _interrupted(folder / "near.cxi", folder / "running.h5", "mpie")
    done("simulate", "isolated", "--frame-px", 32, "-o", folder / "isolated.cxi")
    done("reconstruct", folder / "isolated.cxi", "er", "--epochs", 2, "-o", folder / "support.h5")
    _interrupted(folder / "isolated.cxi", folder / "phasing.h5", "hio")
    return folder


def _interrupted(scan: Path, output: Path, solver: str) -> None:
    """A run that was interrupted, with its checkpoint."""

    def press(step: Any, problem: Any) -> None:
        if step.epoch == 2:
            raise KeyboardInterrupt

    job = {"scan": scan, "solver": {"name": solver, "epochs": 3}, "output": output, "checkpoint_every": 1}
    run_job(make_job(job, "test"), press)


@contextmanager
def spoilt(source: Path, spoil: Callable[[Path], None]) -> Iterator[Path]:
    """A copy of a file in a folder of its own, spoilt."""
    with TemporaryDirectory() as folder:
        path = Path(shutil.copy(source, Path(folder) / source.name))
        spoil(path)
        yield path


def image_or_one_line(path: Path, *words: object, output: Path | None = None) -> None:
    """Run a command: either all went well and the result is finite, or it was refused and nothing was touched."""
    before = contents(path.parent)
    outcome = call(*words)
    if outcome.code in (0, FAILED_CODE):
        assert "Warning" not in outcome.err, outcome.err
        if output is not None:
            result = read_result(output)
            for array in result.estimate.tensors().values():
                assert bool(array.isfinite().all())
            assert math.isfinite(result.residual)
        assert not list(path.parent.glob(".*partial"))
        return
    # A run that began may have told of its epochs before it failed.
    told = [line for line in outcome.err.splitlines(keepends=True) if ": epoch " not in line]
    assert_one_line(type(outcome)(outcome.code, outcome.out, "".join(told)))
    assert contents(path.parent) == before


def reconstructed(path: Path, *more: object) -> None:
    output = path.with_name("out.h5")
    image_or_one_line(path, "reconstruct", path, "rpie", "--epochs", 2, "-o", output, *more, output=output)


@pytest.mark.parametrize("name", ["near.cxi", "near.nxs", "near.ptyd"])
@many
@given(changes=tree_changes)
def test_an_hdf5_scan_with_wrong_contents(good: Path, name: str, changes: Any) -> None:
    with spoilt(good / name, lambda path: spoil_hdf5(path, changes)) as path:
        reconstructed(path)


@some
@given(changes=tree_changes)
def test_a_far_field_scan_with_wrong_contents(good: Path, changes: Any) -> None:
    with spoilt(good / "far.cxi", lambda path: spoil_hdf5(path, changes)) as path:
        reconstructed(path)
        image_or_one_line(path, "info", path)


@many
@given(changes=archive_changes)
def test_an_archive_with_wrong_contents(good: Path, changes: Any) -> None:
    with spoilt(good / "near.npz", lambda path: spoil_npz(path, changes)) as path:
        reconstructed(path)
        image_or_one_line(path, "info", path)


@pytest.mark.parametrize("name", ["near.cxi", "near.nxs", "near.npz", "near.ptyd"])
@some
@given(changes=byte_changes)
def test_a_scan_with_wrong_bytes(good: Path, name: str, changes: Any) -> None:
    with spoilt(good / name, lambda path: spoil_bytes(path, changes)) as path:
        reconstructed(path)


@many
@given(changes=st.one_of(tree_changes, byte_changes))
def test_a_spoilt_result_to_start_from_or_to_show(good: Path, changes: Any) -> None:
    with spoilt(good / "result.h5", lambda path: _either(path, changes)) as path:
        scan, output = good / "near.cxi", path.with_name("out.h5")
        words = ("reconstruct", scan, "rpie", "--epochs", 2, "-o", output, "--start", path)
        image_or_one_line(path, *words, output=output)
        image_or_one_line(path, "evaluate", path, "--json")
        image_or_one_line(path, "export", path, "-o", path.with_suffix(".png"), "--dpi", 30)


@many
@given(changes=st.one_of(tree_changes, byte_changes))
def test_a_spoilt_result_of_one_pattern_to_start_from_or_to_show(good: Path, changes: Any) -> None:
    with spoilt(good / "support.h5", lambda path: _either(path, changes)) as path:
        pattern, output = good / "isolated.cxi", path.with_name("out.h5")
        words = ("reconstruct", pattern, "er", "--epochs", 2, "-o", output, "--start", path)
        image_or_one_line(path, *words, output=output)
        image_or_one_line(path, "evaluate", path, "--truth", pattern, "--json")
        image_or_one_line(path, "export", path, "-o", path.with_suffix(".png"), "--dpi", 30)


@pytest.mark.parametrize("name", ["result.h5", "support.h5"])
@some
@given(changes=tree_changes)
def test_a_spoilt_result_to_report(good: Path, name: str, changes: Any) -> None:
    with spoilt(good / name, lambda path: spoil_hdf5(path, changes)) as path:
        image_or_one_line(path, "report", path)


@pytest.mark.parametrize(("result", "scan"), [("result.h5", "near.cxi"), ("support.h5", "isolated.cxi")])
@some
@given(changes=tree_changes)
def test_a_spoilt_truth(good: Path, result: str, scan: str, changes: Any) -> None:
    with spoilt(good / scan, lambda path: spoil_hdf5(path, changes)) as path:
        image_or_one_line(path, "evaluate", good / result, "--truth", path)


@pytest.mark.parametrize(
    ("name", "scan", "solver"), [("running.h5", "near.cxi", "mpie"), ("phasing.h5", "isolated.cxi", "hio")]
)
@many
@given(changes=st.one_of(tree_changes, byte_changes))
def test_a_spoilt_checkpoint(good: Path, name: str, scan: str, solver: str, changes: Any) -> None:
    with spoilt(good / f"{name}.checkpoint", lambda path: _either(path, changes)) as path:
        output = path.with_name(name)
        words = (
            "reconstruct",
            good / scan,
            solver,
            "--epochs",
            3,
            "-o",
            output,
            "--checkpoint-every",
            1,
            "--resume",
        )
        image_or_one_line(path, *words, output=output)


def _either(path: Path, changes: list[Any]) -> None:
    (spoil_hdf5 if len(changes[0]) == 3 else spoil_bytes)(path, changes)


JOB: dict[str, Any] = {
    "scan": "near.cxi",
    "output": "out.h5",
    "solver": [{"name": "rpie", "epochs": 1, "alpha": 0.1}, {"name": "mpie", "epochs": 1}],
    "prepare": [{"select": "0:15"}, "mask_hot", {"crop": 16}],
    "reading": {"position_sign": "sample", "energy_ev": 8000.0},
    "seed": 3,
    "modes": 1,
    "patience": 2,
}
RECIPE: dict[str, Any] = {
    "title": "CXI by hand",
    "frames": {"path": "entry_1/instrument_1/detector_1/data", "orientation": "identity"},
    "positions": {
        "unit": "m",
        "sign": "sample",
        "y": [{"path": "entry_1/sample_1/geometry_1/translation", "component": 1, "times": -1}],
        "x": [{"path": "entry_1/sample_1/geometry_1/translation", "component": 0, "times": -1}],
    },
    "energy": {"path": "entry_1/instrument_1/source_1/energy", "unit": "file"},
    "distance": {"path": "entry_1/instrument_1/detector_1/distance", "unit": "m"},
    "detector_pixel": {"value": 75.0, "unit": "um"},
    "mask": {"path": "entry_1/instrument_1/detector_1/mask", "good": "zero"},
}
ODD_VALUES = st.sampled_from(
    [
        None,
        "",
        "abc",
        "-1",
        -1,
        0,
        1,
        3,
        1e30,
        10**30,
        float("nan"),
        float("inf"),
        True,
        [],
        {},
        [[]],
        {"a": 1},
        "2001-01-01",
    ]
)
key_changes = st.lists(
    st.tuples(st.sampled_from(["value", "delete", "rename", "wrap", "add"]), st.integers(0, 99), ODD_VALUES),
    min_size=1,
    max_size=2,
)
"""What to do to which key of a YAML file, however deep (modulo their number)."""


def keys_changed(content: dict[str, Any], changes: list[tuple[str, int, Any]]) -> dict[str, Any]:
    content = copy.deepcopy(content)
    for how, where, value in changes:
        places = list(_places(content))
        if not places:
            break
        holder, key = places[where % len(places)]
        if how == "value":
            # A copy, or a value put into itself would never end.
            holder[key] = copy.deepcopy(value)
        elif how == "wrap":
            holder[key] = [holder[key]]
        elif how == "add" and isinstance(holder, dict):
            holder["colour"] = copy.deepcopy(value)
        else:
            old = holder.pop(key)
            if how == "rename" and isinstance(holder, dict):
                holder[f"{key}s"] = old
    return content


def _places(content: Any) -> Iterator[tuple[Any, Any]]:
    pairs = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in list(pairs):
        yield content, key
        yield from _places(value)


@many
@given(changes=key_changes)
def test_a_job_with_wrong_keys_and_values(good: Path, changes: Any) -> None:
    with spoilt(good / "near.cxi", lambda path: None) as scan:
        job = scan.with_name("job.yaml")
        job.write_text(yaml.safe_dump(keys_changed(JOB, changes)))
        image_or_one_line(job, "run", job)


@many
@given(changes=byte_changes)
def test_a_job_with_wrong_bytes(good: Path, changes: Any) -> None:
    with spoilt(good / "near.cxi", lambda path: None) as scan:
        job = scan.with_name("job.yaml")
        job.write_text(yaml.safe_dump(JOB))
        spoil_bytes(job, changes)
        image_or_one_line(job, "run", job)


@many
@given(changes=key_changes)
def test_a_recipe_with_wrong_keys_and_values(good: Path, changes: Any) -> None:
    with spoilt(good / "far.cxi", lambda path: None) as scan:
        recipe = scan.with_name("recipe.yaml")
        recipe.write_text(yaml.safe_dump(keys_changed(RECIPE, changes)))
        reconstructed(scan, "--recipe", recipe)


def test_the_recipe_that_is_mutated_works(good: Path) -> None:
    with spoilt(good / "far.cxi", lambda path: None) as scan:
        recipe, output = scan.with_name("recipe.yaml"), scan.with_name("out.h5")
        recipe.write_text(yaml.safe_dump(RECIPE))
        done("reconstruct", scan, "rpie", "--epochs", 2, "-o", output, "--recipe", recipe)
        assert read_result(output).residual < 0.1


def test_the_job_that_is_mutated_works(good: Path) -> None:
    with spoilt(good / "near.cxi", lambda path: None) as scan:
        job = scan.with_name("job.yaml")
        job.write_text(yaml.safe_dump(JOB))
        done("run", job)
        assert read_result(scan.with_name("out.h5")).residual < 0.1
