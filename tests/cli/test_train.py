"""Networks on the command line: trained, used by the name of their folder, doubted; and whatever may be wrong with that."""

import json
import pickle
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from command import assert_one_line, call, contents, done, refused
from exitwave import read_result, solvers, write
from exitwave.io.weights import read_record
from exitwave.solvers.neural import trained_solver
from exitwave.training.collapse import Collapsed

MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from exitwave.cli import main; main()"
SMALL = ("--epochs", 2, "--stages", 1, "--group", 4)
NETWORKS = ("ptychonn", "ptychopinn")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two scans of 32 pixels, one of 24, a result, and trained networks."""
    folder = tmp_path_factory.mktemp("networks")
    for name, size, seed in (("a", 32, 1), ("b", 32, 2), ("small", 24, 3)):
        done("simulate", "lines", "--frame-px", size, "--frames", 36, "--seed", seed, "-o", folder / f"{name}.cxi")
    done("reconstruct", folder / "a.cxi", "rpie", "--epochs", 30, "-o", folder / "a.h5")
    probe = ("--probe", folder / "a.h5")
    done("train", "ptychopinn", folder / "a.cxi", folder / "b.cxi", "--save", folder / "pinn", *probe, *SMALL)
    done(
        "train",
        "ptychonn",
        folder / "a.cxi",
        "--labels",
        "truth",
        "--save",
        folder / "nn",
        "--epochs",
        1,
        "--width",
        0.25,
    )
    return folder


def reconstructed(place: Path, *words: object, name: str = "out.h5"):
    outcome = done("reconstruct", place / "b.cxi", *words, "--probe", place / "a.h5", "-o", place / name)
    return read_result(place / name), outcome


class TestTraining:
    def test_help_lists_what_can_be_trained_with_its_options(self) -> None:
        out = done("train", "--help").out
        assert all(name in out for name in NETWORKS)
        for name in NETWORKS:
            told = done("train", name, "--help").out
            assert f"exitwave train {name} SCAN... --save FOLDER [OPTIONS]" in told
            for option in (
                "--save",
                "--probe",
                "--labels",
                "--resume",
                "--tensorboard",
                "--stages",
                "--seed",
                "--prepare",
            ):
                assert option in told, option

    def test_a_training_leaves_network_log_and_preview_and_says_what_to_do_next(
        self, place: Path, tmp_path: Path
    ) -> None:
        words = ("train", "ptychopinn", place / "a.cxi", "--save", tmp_path / "net", "--probe", place / "a.h5", *SMALL)
        outcome = done(*words)
        assert re.search(r"finished: 2 epochs, loss [\d.]+, held out [\d.]+ -> ", outcome.out)
        assert f"next: exitwave reconstruct SCAN {tmp_path / 'net'} --probe RESULT -o out.h5" in outcome.out
        assert re.search(r"ptychopinn: epoch 1/2  loss \S+  held out \S+  rate \S+  \d+ frames/s", outcome.err)
        names = {path.name for path in (tmp_path / "net").iterdir()}
        assert names == {"weights.safetensors", "log.jsonl", "preview.png"}
        assert (tmp_path / "net" / "preview.png").read_bytes()[:4] == b"\x89PNG"
        before = contents(tmp_path)
        assert "trained already: 2 epochs" in done(*words, "--resume").out
        assert contents(tmp_path) == before

    def test_labels_may_come_from_results(self, place: Path, tmp_path: Path) -> None:
        words = ("--epochs", 1, "--width", 0.25, "--save", tmp_path / "net")
        done("train", "ptychonn", place / "a.cxi", "--labels", place / "a.h5", *words)
        assert read_record(tmp_path / "net")["ending"] == "finished"

    def test_a_preview_that_fails_is_told_once_and_ends_nothing(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise ValueError("no fonts")

        monkeypatch.setattr("exitwave.cli.training_progress.save_preview", fail)
        monkeypatch.setattr("exitwave.cli.training_progress.EVERY_S", 0.0)
        outcome = done("train", "ptychopinn", place / "a.cxi", "--save", tmp_path / "net", *SMALL)
        told = "exitwave: warning: there is no preview (ValueError: no fonts); the training goes on\n"
        assert outcome.err.count(told) == 1
        assert (tmp_path / "net" / "weights.safetensors").exists()

    def test_ctrl_c_saves_and_says_how_to_go_on(self, place: Path, tmp_path: Path) -> None:
        words = ("train", "ptychopinn", place / "a.cxi", "--save", tmp_path / "net", "--epochs", 10**5, *SMALL[2:])
        command = [sys.executable, "-c", MAIN, *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                while process.poll() is None and not (tmp_path / "net" / "training.safetensors").exists():
                    time.sleep(0.02)
                process.send_signal(signal.SIGINT)
                out, err = process.communicate()
            finally:
                process.kill()
        assert process.returncode == 130, err
        assert "go on with the same command and --resume" in out
        assert "Traceback" not in err
        record = read_record(tmp_path / "net")
        assert record["ending"] == f"interrupted in epoch {record['epochs'] + 1}"

    def test_a_collapse_is_one_line_and_keeps_earlier_epochs(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def collapsed(found: float, before: float, least: float, step: int) -> None:
            if step > 20:
                raise Collapsed("the network collapsed: lower learning_rate")

        monkeypatch.setattr("exitwave.training.trainer.require_variation", collapsed)
        # Looked at from the start.
        monkeypatch.setattr(trained_solver, "TrainingSettings", _watchful)
        words = ("--save", tmp_path / "net", "--epochs", 10, "--checkpoint-every", 1, "--batch", 16, *SMALL[2:])
        outcome = call("train", "ptychopinn", place / "a.cxi", *words)
        assert outcome.code == 2
        lines = [line for line in outcome.said.splitlines() if "frames/s" not in line]
        assert lines == ["exitwave: the network collapsed: lower learning_rate"]
        assert {path.name for path in (tmp_path / "net").iterdir()} == {"training.safetensors", "log.jsonl"}


def _watchful(**options):
    from exitwave.training.settings import TrainingSettings

    return TrainingSettings(**options, collapse_check_after=1)


class TestUsing:
    def test_a_folder_is_a_solver_with_the_options_it_was_trained_with(self, place: Path) -> None:
        result, outcome = reconstructed(place, f"{place / 'pinn'}/")
        assert outcome.err.count("warning") == 0
        assert result.spec["name"] == "ptychopinn"
        assert (result.spec["network"]["stages"], result.spec["group"]) == (1, 4)
        assert result.provenance["epochs"] == 1
        by_weights, _ = reconstructed(place, "ptychopinn", "--weights", place / "pinn", name="weights.h5")
        assert torch.equal(by_weights.estimate.object, result.estimate.object)
        by_file, _ = reconstructed(place, place / "pinn" / "weights.safetensors", name="file.h5")
        assert torch.equal(by_file.estimate.object, result.estimate.object)

    def test_its_options_can_be_changed_and_help_shows_those_stored(self, place: Path) -> None:
        result, _ = reconstructed(place, place / "pinn", "--finetune", 2, name="fine.h5")
        assert (result.provenance["epochs"], result.spec["finetune"], result.spec["network"]["stages"]) == (2, 2, 1)
        told = " ".join(done("reconstruct", place / "b.cxi", place / "pinn", "--help").out.replace("│", " ").split())
        assert re.search(r"--group INT [^-]*\[default: 4\]", told)
        assert re.search(r"--stages INT .{0,160}\[default: 1\]", told)

    def test_jobs_find_networks_from_their_own_folder(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        stages = ["pinn/", {"name": "ptychopinn", "weights": "pinn", "finetune": 1}, {"name": "rpie", "epochs": 2}]
        job = {"scan": "b.cxi", "output": "chain.h5", "probe": "a.h5", "solver": stages}
        (place / "job.yaml").write_text(yaml.safe_dump(job))
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        monkeypatch.chdir(elsewhere)
        done("run", "../job.yaml")
        assert [stage["name"] for stage in read_result(place / "chain.h5").spec["stages"]] == ["ptychopinn"] * 2 + [
            "rpie"
        ]
        (place / "further").mkdir()
        monkeypatch.chdir(place / "further")
        assert "FRC-half-bit-split" in done("evaluate", place / "chain.h5", "--split-half", "--all").out

    def test_results_made_from_a_relative_path_can_be_halved_from_anywhere(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(place)
        done("reconstruct", "b.cxi", "pinn", "--probe", "a.h5", "-o", "relative.h5")
        monkeypatch.chdir(tmp_path)
        assert "M-NRMSE-split" in done("evaluate", place / "relative.h5", "--split-half", "--all").out

    def test_a_folder_called_like_a_solver_is_not_meant(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (place / "rpie").symlink_to(place / "pinn")
        monkeypatch.chdir(place)
        done("reconstruct", "b.cxi", "rpie", "--epochs", 1, "-o", "rpie.h5")
        assert read_result(place / "rpie.h5").spec["name"] == "rpie"
        done("reconstruct", "b.cxi", "./rpie", "-o", "rpie.h5")
        assert read_result(place / "rpie.h5").spec["name"] == "ptychopinn"

    def test_a_network_takes_part_in_a_comparison(self, place: Path, tmp_path: Path) -> None:
        words = (
            "--probe",
            place / "a.h5",
            "--epochs",
            2,
            "-o",
            tmp_path / "page.html",
            "--json",
            tmp_path / "page.json",
        )
        done("compare", place / "b.cxi", "rpie", place / "pinn", *words)
        told = json.loads((tmp_path / "page.json").read_text())["entries"]
        assert list(told) == ["rpie", "pinn"]
        assert told["pinn"]["epochs"] == 1
        assert told["pinn"]["warnings"] == []

    def test_networks_that_came_with_the_package_are_known_by_name(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shipped = {"demo": place / "pinn" / "weights.safetensors"}
        monkeypatch.setattr("exitwave.io.network_paths.shipped_networks", lambda: shipped)
        # A folder of the user's that is called the same does not hide it.
        (tmp_path / "demo").mkdir()
        monkeypatch.chdir(tmp_path)
        result, outcome = reconstructed(place, "demo", name="demo.h5")
        assert outcome.err.count("write ./demo") == 1
        # Not as a path, which would be another on another machine.
        assert result.spec["weights"] == "demo"
        job = {"scan": str(place / "b.cxi"), "output": str(tmp_path / "job.h5"), "solver": "demo"}
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        done("run", tmp_path / "job.yaml")
        done("compare", place / "b.cxi", "demo", "-o", tmp_path / "page.html")


class TestDoubts:
    def test_what_does_not_fit_is_told_with_numbers_everywhere(self, place: Path, tmp_path: Path) -> None:
        output = tmp_path / "out.h5"
        outcome = done(
            "reconstruct", place / "small.cxi", place / "pinn", "-o", output, "--report", tmp_path / "out.html"
        )
        expected = "frames are 24 x 24 pixels, but pinn was trained on 32 x 32"
        lines = [line for line in outcome.err.splitlines() if "warning" in line]
        assert lines[0].startswith(f"exitwave: warning: {expected}")
        assert expected in read_result(output).provenance["warnings"][0]
        assert "rames are 24 x 24 pixels, but pinn was trained on" in (tmp_path / "out.html").read_text()
        assert f"exitwave: warning: {expected}" in call("evaluate", output).err
        assert expected in json.loads(done("evaluate", output, "--json").out)["provenance"]["warnings"][0]
        page = tmp_path / "page.html"
        compared = done("compare", place / "small.cxi", place / "pinn", "-o", page, "--json", tmp_path / "page.json")
        assert compared.err.count(expected) == 1
        assert expected in page.read_text()
        assert expected in json.loads((tmp_path / "page.json").read_text())["entries"]["pinn"]["warnings"][0]

    def test_photons_and_probe_far_from_those_trained_on(self, place: Path, tmp_path: Path) -> None:
        bright = tmp_path / "bright.cxi"
        words = ("--frame-px", 32, "--frames", 36, "--photons-per-frame", 1e8, "-o", bright)
        done("simulate", "lines", *words, "--probe", "disc", "--seed", 4)
        done("reconstruct", bright, "rpie", "--epochs", 30, "-o", tmp_path / "bright.h5")
        told = done(
            "reconstruct", bright, place / "pinn", "--probe", tmp_path / "bright.h5", "-o", tmp_path / "o.h5"
        ).err
        assert re.search(r"frames hold 1e\+08 photons, but pinn was trained on 1e\+06", told)
        assert re.search(r"the probe has an overlap of 0\.\d+ with the nearest of 2 probes", told)

    def test_a_flat_probe_and_single_shots(self, place: Path, tmp_path: Path) -> None:
        flat = tmp_path / "flat.h5"
        result = read_result(place / "a.h5")
        probe = result.estimate.probe.abs().to(torch.complex64)
        even = (probe + probe.flip(-1, -2).roll((1, 1), (-1, -2))) / 2
        write(replace(result, estimate=replace(result.estimate, probe=even)), flat)
        words = ("ptychopinn", "--epochs", 1, "--stages", 1, "-o", tmp_path / "o.h5", "--probe")
        told = done("reconstruct", place / "a.cxi", *words, flat, "--group", 1).err
        assert "the probe is nearly its own twin" in told
        assert "mirror image; take group 4 or more" in told
        assert "warning" not in done("reconstruct", place / "a.cxi", *words, flat, "--group", 4).err
        assert "warning" not in done("reconstruct", place / "a.cxi", *words, place / "a.h5", "--group", 1).err


class TestBadInput:
    def complaint(self, place: Path, *words: object, save: str = "net") -> str:
        """The line with which a training is refused; no file is touched, and no folder made."""
        folder = place / save
        there = folder.exists()
        line = refused(place, "train", *words, "--save", folder)
        assert folder.exists() == there
        return line

    def test_nothing_to_train(self, place: Path) -> None:
        assert "rpie has no network to train; there are autophasenn, ptychonn, ptychopinn" in self.complaint(
            place, "rpie", place / "a.cxi"
        )
        assert "name first what to train" in self.complaint(place, place / "a.cxi")
        assert "is trained already; name the method" in self.complaint(place, place / "pinn", place / "a.cxi")

    def test_no_scans(self, place: Path) -> None:
        assert "nothing to train on" in self.complaint(place, "ptychopinn")

    def test_no_folder(self, place: Path) -> None:
        assert "--save" in refused(place, "train", "ptychopinn", place / "a.cxi")

    def test_a_folder_that_is_a_file(self, place: Path) -> None:
        assert "is a file; give the name of a folder" in self.complaint(
            place, "ptychopinn", place / "a.cxi", save="a.h5"
        )

    def test_a_folder_in_a_file(self, place: Path) -> None:
        assert "cannot be made" in self.complaint(place, "ptychopinn", place / "a.cxi", *SMALL, save="a.h5/net")

    def test_a_folder_that_cannot_be_written(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def forbid(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "mkdir", forbid)
        assert "cannot be made (Permission denied)" in self.complaint(place, "ptychopinn", place / "a.cxi", *SMALL)

    def test_a_finished_network_is_not_overwritten(self, place: Path) -> None:
        assert "holds a trained network" in self.complaint(place, "ptychopinn", place / "a.cxi", *SMALL, save="pinn")

    def test_frames_of_several_sizes(self, place: Path) -> None:
        words = ("ptychopinn", place / "a.cxi", place / "small.cxi", "--network", "encoder", "--group", 4)
        line = self.complaint(place, *words)
        assert "frames of one size, but these are a.cxi 32 x 32, small.cxi 24 x 24" in line
        assert "--prepare crop" in line

    def test_probes_of_several_kinds(self, place: Path, tmp_path: Path) -> None:
        other = place / "other.cxi"
        done("simulate", "lines", "--frame-px", 32, "--frames", 36, "--probe", "disc", "-o", other)
        line = self.complaint(place, "ptychopinn", place / "a.cxi", other, "--network", "encoder", "--group", 4)
        assert "the probe of other.cxi is another than that of a.cxi" in line
        assert "--network unet" in line

    def test_as_many_probes_as_scans(self, place: Path) -> None:
        probes = ("--probe", place / "a.h5", "--probe", place / "a.h5", "--probe", place / "a.h5")
        assert "3 probes for 2 scans" in self.complaint(place, "ptychopinn", place / "a.cxi", place / "b.cxi", *probes)

    def test_labels_where_they_belong(self, place: Path) -> None:
        a, b = place / "a.cxi", place / "b.cxi"
        assert "learns from known images: 0 labels for 1 scans" in self.complaint(place, "ptychonn", a)
        assert "ptychopinn learns without labels" in self.complaint(place, "ptychopinn", a, "--labels", "truth")
        assert "1 labels for 2 scans" in self.complaint(place, "ptychonn", a, b, "--labels", place / "a.h5")
        line = self.complaint(place, "ptychonn", a, "--prepare", "select=::2", "--labels", "truth")
        assert "the label of a.cxi has 36 frames but the scan 18" in line
        assert "wrong.h5 does not exist" in self.complaint(place, "ptychonn", a, "--labels", place / "wrong.h5")

    def test_too_few_frames(self, place: Path) -> None:
        line = self.complaint(place, "ptychopinn", place / "a.cxi", "--prepare", "select=0:10")
        assert "a.cxi has 10 frames, less than one group of 16; lower group" in line
        assert "one of them is one pattern of an isolated object" in self.complaint(
            place, "ptychopinn", place / "a.cxi", "--prepare", "select=0:1", "--group", 1
        )

    def test_the_extra_is_named(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "lightning_fabric", None)
        assert "pip install 'exitwave[train]'" in self.complaint(place, "ptychopinn", place / "a.cxi", *SMALL)

    @pytest.mark.parametrize("option", [("--epochs", 0), ("--width", -1), ("--learning-rate", "fast"), ("--epoch", 3)])
    def test_options_that_make_no_sense(self, place: Path, option: tuple[object, ...]) -> None:
        assert str(option[0]) in self.complaint(place, "ptychopinn", place / "a.cxi", *option)

    def test_weights_of_another_network(self, place: Path) -> None:
        weights = ("--weights", place / "pinn")
        line = self.complaint(place, "ptychopinn", place / "a.cxi", *weights, "--stages", 3)
        assert "was trained with stages 1 (here 3)" in line
        assert "holds a trained ptychopinn, not ptychonn" in self.complaint(
            place, "ptychonn", place / "a.cxi", *weights
        )


class TestBadNetworks:
    def complaint(self, place: Path, *words: object) -> str:
        return refused(place, "reconstruct", place / "b.cxi", *words, "-o", place / "never.h5")

    def test_what_is_missing(self, place: Path) -> None:
        line = self.complaint(place, place / "nowhere")
        assert "nor is there a trained network of this name, a file or folder that exitwave train makes" in line
        assert "nowhere does not exist" in self.complaint(place, "ptychopinn", "--weights", place / "nowhere")

    def test_a_folder_without_a_network(self, place: Path) -> None:
        (place / "empty").mkdir(exist_ok=True)
        line = self.complaint(place, place / "empty")
        assert "holds no weights.safetensors; give a folder that `exitwave train" in line
        line = refused(place, "compare", place / "b.cxi", place / "empty", "-o", place / "never.html")
        assert "holds no weights.safetensors" in line

    def test_weights_that_are_damaged_or_foreign(self, place: Path, tmp_path: Path) -> None:
        whole = (place / "pinn" / "weights.safetensors").read_bytes()
        spoilt = bytearray(whole)
        spoilt[-5] ^= 1
        for content, told in (
            (whole[: len(whole) // 2], "damaged or cut short"),
            (bytes(spoilt), "damaged or was edited"),
            (pickle.dumps({"a": 1}), "a pickle, which can run programs"),
            (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        ):
            path = tmp_path / "bad" / "weights.safetensors"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content)
            assert told in self.complaint(place, "ptychopinn", "--weights", path.parent), told
            outcome = call("reconstruct", place / "b.cxi", path.parent, "-o", place / "never.h5")
            assert_one_line(outcome)

    def test_jobs_with_words_that_are_no_networks(
        self, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(place)
        job = {"scan": str(place / "b.cxi"), "output": str(place / "never.h5"), "solver": "pinn"}
        # A network of this name lies where the program runs, not where the job is.
        (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
        assert "there is no solver 'pinn'" in refused(place, "run", tmp_path / "job.yaml")

    def test_frames_that_the_encoder_cannot_see(self, place: Path) -> None:
        line = refused(place, "reconstruct", place / "small.cxi", place / "nn", "-o", place / "never.h5")
        assert "frames are 24 x 24 pixels, but the encoder" in line
        assert "was trained on 32 x 32 and takes no others" in line

    def test_what_is_taught_is_not_finetuned(self, place: Path) -> None:
        assert "learns from labels" in self.complaint(place, place / "nn", "--finetune", 3)
        assert "exitwave train ptychonn SCAN --labels" in self.complaint(place, "ptychonn")


def test_all_that_can_be_trained_is_tested_here() -> None:
    from exitwave.solvers.neural.network_solver import NetworkSolver

    assert set(NETWORKS) == {name for name, cls in solvers().items() if issubclass(cls, NetworkSolver)}
