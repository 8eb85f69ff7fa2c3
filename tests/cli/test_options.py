"""What the options of the command line do, in help, in jobs and in runs."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import h5py
import pytest
import torch
import yaml

from command import call, done, refused
from exitwave import read_result, solvers
from exitwave.cli import APP
from exitwave.data import prepare
from exitwave.data.position_map import PositionMap
from exitwave.io.export import EXPORT_NAMES
from exitwave.io.formats import FORMATS, writable
from exitwave.io.recipes.schema import shipped_recipes
from exitwave.running.orientation import Orientation
from exitwave.solvers.ptychography.pie import MPIE

COMMANDS = (
    "info",
    "simulate",
    "reconstruct",
    "train",
    "run",
    "compare",
    "evaluate",
    "report",
    "view",
    "export",
    "recipe",
    "doctor",
)
ITERATIVE = sorted(set(solvers()) - {"best_of", "chain", "ensemble", "refined"})


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("scan") / "scan.cxi"
    done("simulate", "siemens", "--frames", 25, "--frame-px", 24, "--focus-distance-m", "inf", "-o", path)
    return path


def reconstructed(scan: Path, name: str, *more: object, solver: str = "rpie"):
    output = scan.with_name(name)
    done("reconstruct", scan, solver, "-o", output, *more)
    return read_result(output)


class TestHelp:
    def test_help_imports_nothing_heavy(self) -> None:
        script = (
            "import sys; from exitwave.cli import answer; code = answer(['--help']); print(code, sorted(sys.modules))"
        )
        made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        code, modules = made.stdout.splitlines()[-1].split(" ", 1)
        assert code == "0"
        for heavy in ("torch", "numpy", "h5py", "scipy", "matplotlib"):
            assert f"'{heavy}'" not in modules

    def test_help_names_every_command(self) -> None:
        out = done("--help").out
        for command in COMMANDS:
            assert command in out

    @pytest.mark.parametrize("command", COMMANDS)
    def test_every_command_explains_itself(self, command: str) -> None:
        out = done(command, "--help").out
        assert command in out
        assert len(out.splitlines()) > 3

    @pytest.mark.parametrize("solver", ITERATIVE)
    @pytest.mark.parametrize("before", [(), ("scan.cxi",)], ids=["alone", "with a scan"])
    def test_every_solver_explains_every_option(self, solver: str, before: tuple[str, ...]) -> None:
        out = done("reconstruct", *before, solver, "--help").out
        assert f"reconstruct SCAN {solver} [OPTIONS]\n" in out
        for option in fields(solvers()[solver]):
            assert f"--{option.name.replace('_', '-')}" in out
        for option in ("--output", "--seed", "--modes", "--resume", "--position-unit", "--prepare"):
            assert option in out

    def test_reconstruct_lists_the_solvers(self) -> None:
        out = done("reconstruct", "--help").out
        assert all(solver in out for solver in ITERATIVE)

    def test_the_version_is_told(self) -> None:
        assert done("--version").out.strip() == "0.1.0"

    def test_doctor_finds_this_installation_sound(self) -> None:
        out = done("doctor").out
        assert "all is well" in out
        assert "rpie" in out

    def test_options_of_many_solvers_explain_themselves(self) -> None:
        text = " ".join(call("reconstruct", "rpie", "--help").out.replace("│", " ").split())
        assert "Whether to retrieve the probe; switch off when it is" in text
        assert "Epochs before the probe is first updated; raise it" in text

    def test_values_of_recipe_format_and_to_are_listed(self) -> None:
        text = "".join(done("export", "--help").out.replace("│", " ").split())
        for name in (*shipped_recipes(), *EXPORT_NAMES, *writable()):
            assert name in text
        assert f"Oneof{','.join(name for name, chosen in FORMATS.items() if chosen.read is not None)}." in text

    def test_an_unknown_command_is_refused(self, tmp_path: Path) -> None:
        assert "reconstruc" in refused(tmp_path, "reconstruc", "scan.cxi")

    def test_what_is_nearly_a_name_is_asked_about(self, scan: Path) -> None:
        folder, out = scan.parent, scan.with_name("out.h5")
        assert "(did you mean rpie?)" in refused(folder, "reconstruct", scan, "rpi", "-o", out)
        assert "(did you mean rpie?)" in refused(folder, "compare", scan, "rpi", "-o", scan.with_name("p.html"))
        assert "(did you mean ptychonn?)" in refused(folder, "train", "ptychon", scan, "--save", folder / "net")
        assert "(did you mean crop?)" in refused(folder, "info", scan, "--prepare", "crp=3")
        assert "(did you mean ptylab?)" in refused(folder, "info", scan, "--recipe", "ptylb")
        assert "(did you mean nexus?)" in refused(folder, "info", scan, "--format", "nexsus")
        job = folder / "job.yaml"
        job.write_text("scan: scan.cxi\nsolver: rpie\noutput: out.h5\nfree_fractoin: 0.05\nreading: {energy: 8000}\n")
        asked = refused(folder, "run", job)
        assert "(did you mean free_fraction?)" in asked
        assert "(did you mean energy_ev?)" in asked
        job.write_text("scan: scan.cxi\nsolver: {name: rpie, alhpa: 1}\noutput: out.h5\n")
        assert "'alhpa' (did you mean alpha?)" in refused(folder, "run", job)
        # Nothing is asked where nothing is near.
        assert "did you mean" not in refused(folder, "reconstruct", scan, "xyzzy", "-o", out)

    def test_help_lists_formats_and_recipes(self) -> None:
        told = " ".join(done("info", "--help").out.replace("│", " ").split())
        for name in ("nexus", "ptyd", "slac-npz", "psi_csaxs", "ptylab"):
            assert name in told
        told = " ".join(done("export", "--help").out.replace("│", " ").split())
        for name in ("tiff", "png", "ptyd", "nexus"):
            assert name in told

    def test_commands_are_all_tested_here(self) -> None:
        assert set(COMMANDS) == {name for name in APP if not name.startswith("-")}


class TestRuns:
    def test_info_says_what_to_add_for_the_orientation_it_found(
        self, scan: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # The search itself is tested in tests/running/test_orientation.py; this scan is too small for it.
        found = Orientation(
            frames="transpose",
            flip_positions=False,
            positions=PositionMap.of(prepare.rotation(-20)),
            deviation=0.0,
            residual=0.1,
            runner_up=0.5,
            as_read=0.6,
        )
        monkeypatch.setattr("exitwave.running.orientation.find_orientation", lambda *_, **__: found)
        out = done("info", scan, "--auto-orient", "--orientation", "transpose", "--rotation-deg", "5").out
        assert re.search(r"orientation +frames transpose, positions turned by -20.00 deg", out)
        assert re.search(r"to read it so +--orientation identity --rotation-deg -15.000", out)
        last, before = out.splitlines()[-1], out.splitlines()[-2]
        assert re.match(r"verdict +sure: .*; read it with --orientation identity --rotation-deg -15.000$", last)
        # What the search found takes the place of what was stated.
        assert f"{scan} --orientation identity --rotation-deg -15.000 -o" in before
        monkeypatch.setattr("exitwave.running.orientation.find_orientation", lambda *_, **__: found)
        made = reconstructed(scan, "turned.h5", "--epochs", 1, "--auto-orient")
        assert made.provenance["scan"]["preparation"][0] == "orient: transpose"
        assert "turned by -20" in made.provenance["scan"]["auto_orient"]

    def test_the_same_seed_gives_the_same_file(self, scan: Path) -> None:
        one, again, other = (
            reconstructed(scan, f"{i}.h5", "--epochs", 3, "--seed", seed, "--batch", 4)
            for i, seed in enumerate((5, 5, 6))
        )
        assert torch.equal(one.estimate.object, again.estimate.object)
        assert one.history == again.history
        assert not torch.equal(one.estimate.object, other.estimate.object)

    def test_the_same_simulation_gives_the_same_frames(self, scan: Path, tmp_path: Path) -> None:
        words = ("simulate", "siemens", "--frames", 25, "--frame-px", 24, "--focus-distance-m", "inf", "-o")
        done(*words, tmp_path / "again.cxi")
        done(*words, tmp_path / "other.cxi", "--seed", 1)
        name = "entry_1/instrument_1/detector_1/data"
        with h5py.File(scan) as a, h5py.File(tmp_path / "again.cxi") as b, h5py.File(tmp_path / "other.cxi") as c:
            assert (a[name][()] == b[name][()]).all()
            assert (a[name][()] != c[name][()]).any()

    def test_a_start_goes_on_where_it_ended(self, scan: Path) -> None:
        first = reconstructed(scan, "first.h5", "--epochs", 5)
        second = reconstructed(scan, "second.h5", "--epochs", 1, "--start", scan.with_name("first.h5"))
        fresh = reconstructed(scan, "fresh.h5", "--epochs", 1)
        assert second.history[0] < first.history[-1] * 1.1
        assert second.history[0] < fresh.history[0] / 2

    def test_a_probe_to_start_from_leaves_the_object_empty(self, scan: Path) -> None:
        first = reconstructed(scan, "first.h5", "--epochs", 5)
        options = ("--epochs", 1, "--no-update-probe", "--probe", scan.with_name("first.h5"))
        second = reconstructed(scan, "second.h5", *options)
        kept = torch.nn.functional.cosine_similarity(
            torch.view_as_real(first.estimate.probe).flatten(),
            torch.view_as_real(second.estimate.probe).flatten(),
            dim=0,
        )
        assert float(kept) == pytest.approx(1, abs=1e-4)

    @pytest.mark.parametrize("start", [(), ("--start", "one.h5")], ids=["fresh", "from a result with one mode"])
    def test_modes_are_as_many_as_asked_for(self, scan: Path, start: tuple[str, ...]) -> None:
        reconstructed(scan, "one.h5", "--epochs", 1)
        start = tuple(str(scan.with_name(word)) if word.endswith(".h5") else word for word in start)
        made = reconstructed(scan, "modes.h5", "--epochs", 1, "--modes", 3, *start)
        assert made.estimate.probe.shape == (3, 24, 24)
        powers = made.estimate.probe.abs().square().sum(dim=(1, 2))
        assert powers[0] > powers[1] > 0

    def test_held_out_pixels_give_a_free_residual(self, scan: Path) -> None:
        made = reconstructed(scan, "free.h5", "--epochs", 5, "--free-fraction", 0.05)
        assert made.free_residual is not None
        assert 0 < made.free_residual < 1
        told = json.loads(done("evaluate", scan.with_name("free.h5"), "--json").out)
        assert told["free-residual"] == made.free_residual
        assert reconstructed(scan, "none.h5", "--epochs", 1).free_residual is None

    def test_patience_ends_a_run_that_stands_still(self, scan: Path) -> None:
        made = reconstructed(scan, "patient.h5", "--epochs", 2000, "--patience", 3)
        assert len(made.history) < 2000
        assert made.provenance["ending"].startswith("stopped early")

    def test_a_residual_to_stop_at_is_reached(self, scan: Path) -> None:
        third = reconstructed(scan, "third.h5", "--epochs", 3).history[2]
        made = reconstructed(scan, "stopped.h5", "--epochs", 50, "--stop-residual", third * 1.0001)
        assert len(made.history) == 3

    def test_preparation_happens_in_the_order_given(self, scan: Path) -> None:
        steps = ("select=::2", "crop=20", "bin=2", "mask_hot", "threshold=1", "recentre=[5, 5]", "pad=[12, 14]")
        words = [word for step in steps for word in ("--prepare", step)]
        told = json.loads(done("info", scan, "--json", *words).out)
        assert told["frames"] == 13
        assert told["frame_shape"] == [12, 14]
        noted = [line.split(":")[0].split(" ")[0] for line in told["provenance"]["preparation"]]
        assert noted == ["select", "crop", "bin", "mask_hot", "threshold", "recentre", "pad"]

    def test_a_slice_is_not_a_time_of_day(self, scan: Path) -> None:
        assert json.loads(done("info", scan, "--json", "--prepare", "select=1:20").out)["frames"] == 19

    def test_options_of_0_1_0_do_the_same_and_are_named_in_one_line_each(self, scan: Path) -> None:
        words = ("newton", "-o", scan.with_name("old.h5"), "--epochs", 2, "--refine-positions")
        done("reconstruct", scan, *words, "--warm-start", 1, "--max-position-error-px", 2.5, "--max-amplitude", 1.1)
        now = read_result(scan.with_name("old.h5"))
        err = done("reconstruct", scan, *words, "--approach", 1, "--position-error-px=2.5", "--most-amplitude", 1.1).err
        old = read_result(scan.with_name("old.h5"))
        assert old.spec == now.spec
        assert torch.equal(old.estimate.object, now.estimate.object)
        told = [line for line in err.splitlines() if "is now" in line]
        assert [line.split()[2] for line in told] == ["--approach", "--position-error-px", "--most-amplitude"]

    def test_options_may_stand_before_the_scan(self, scan: Path, tmp_path: Path) -> None:
        done("reconstruct", "--epochs", 1, "-o", tmp_path / "out.h5", scan, "epie")
        assert read_result(tmp_path / "out.h5").spec["name"] == "epie"

    def test_a_report_can_be_asked_for_at_once(self, scan: Path, tmp_path: Path) -> None:
        out = done(
            "reconstruct", scan, "rpie", "--epochs", 1, "-o", tmp_path / "a.h5", "--report", tmp_path / "a.html"
        ).out
        assert f"report -> {tmp_path / 'a.html'}" in out
        assert (tmp_path / "a.html").stat().st_size > 10_000


class TestJobs:
    def job(self, scan_file: Path, folder: Path, **keys: object) -> Path:
        path = folder / "job.yaml"
        path.write_text(
            yaml.safe_dump({"scan": str(scan_file), "output": "out.h5", "solver": {"name": "rpie", "epochs": 1}} | keys)
        )
        return path

    def test_a_job_equals_the_command_it_describes(self, scan: Path, tmp_path: Path) -> None:
        solver = {"name": "mpie", "epochs": 3, "alpha": 0.3}
        prepare = ["mask_hot", {"crop": 20}]
        done(
            "run", self.job(scan, tmp_path, solver=solver, seed=4, prepare=prepare, reading={"position_sign": "sample"})
        )
        options = ("--epochs", 3, "--alpha", 0.3, "--seed", 4, "--position-sign", "sample")
        made = reconstructed(scan, "made.h5", *options, "--prepare", "mask_hot", "--prepare", "crop=20", solver="mpie")
        assert torch.equal(read_result(tmp_path / "out.h5").estimate.object, made.estimate.object)

    def test_a_name_alone_means_the_defaults(self, scan: Path, tmp_path: Path) -> None:
        done("run", self.job(scan, tmp_path, solver="mpie", stop_residual=1.0))
        assert read_result(tmp_path / "out.h5").spec["alpha"] == MPIE().alpha

    @pytest.mark.parametrize(
        ("keys", "expected"),
        [
            ({"sovler": "rpie"}, "sovler"),
            (
                {"solver": {"name": "rpie", "alpah": 1}},
                "rpie has no option 'alpah' (did you mean alpha?); its options are",
            ),
            ({"solver": {"name": "rpie", "alpha": "much"}}, "alpha"),
            ({"solver": {"name": "rpie", "alpha": 3}}, "alpha"),
            ({"solver": {"name": "oipe"}}, "there is no solver 'oipe'"),
            ({"solver": {"epochs": 3}}, "a solver is described by its name"),
            ({"solver": []}, "a chain needs at least one solver"),
            ({"solver": ["rpie", {"name": "mpie", "epoch": 1}]}, "mpie has no option 'epoch'"),
            ({"reading": {"energy": 8000}}, "energy"),
            ({"reading": {"energy_ev": "blue"}}, "energy_ev"),
            ({"reading": 3}, "reading"),
            ({"prepare": "bin=2"}, "prepare"),
            ({"prepare": [{"bin": 2, "crop": 8}]}, "a preparation step is a name or one {name: arguments}"),
            ({"prepare": [{"crop": {"size": 8, "colour": 1}}]}, "crop does not take colour; it takes size, centre"),
            ({"seed": "one"}, "seed"),
            ({"modes": 1.5}, "modes"),
            ({"patience": 0}, "patience"),
            ({"scan": None}, "scan"),
            ({"scan": 3}, "scan"),
        ],
        ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
    )
    def test_wrong_keys_and_values_are_named(
        self, scan: Path, tmp_path: Path, keys: dict[str, object], expected: str
    ) -> None:
        assert expected in refused(tmp_path, "run", self.job(scan, tmp_path, **keys))

    def test_missing_keys_are_all_named_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "job.yaml"
        path.write_text("seed: 1\n")
        line = refused(tmp_path, "run", path)
        assert all(key in line for key in ("scan", "solver", "output"))

    @pytest.mark.parametrize("text", ["", "- a\n- b\n", "a: [", "a: 2001-99-99", "\x00", "[" * 5000], ids=range(6))
    def test_what_is_no_job_is_refused(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "job.yaml"
        path.write_text(text)
        assert "job.yaml" in refused(tmp_path, "run", path)

    def test_a_missing_job_is_named(self, tmp_path: Path) -> None:
        assert "nowhere.yaml does not exist" in refused(tmp_path, "run", tmp_path / "nowhere.yaml")


def test_a_closed_pipe_is_no_error(scan: Path) -> None:
    command = f"import sys; from exitwave.cli import main; sys.argv = ['exitwave', 'info', {str(scan)!r}]; main()"
    # Buffered, as for users: without, the pipe is met at the first word and not at the end of the process.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(
        [sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == f"reading {scan.name} ...\nexamining the frames ...\n".encode()
    assert process.returncode == 0


def test_words_without_a_command_show_help() -> None:
    assert "reconstruct" in call().out
