"""A word means the same network in every folder; what else lies there under its name is told, and reached by a path."""

import json
import shutil
import warnings
from pathlib import Path

import pytest
import yaml

import exitwave as ew
from command import done, refused
from exitwave.io.network_paths import as_word, names_network, network_name, network_path, shipped_networks
from exitwave.io.weights import Weights, write_weights
from exitwave.solvers.neural import export as network_export
from exitwave.solvers.spec import resolve_paths, to_spec

TOLD = "general means the network that came with the package, not general; write ./general to mean that"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def network_in(folder: Path) -> Path:
    """A network with random weights, told from the shipped one by its group."""
    solver = ew.PtychoPINN(group=4, network=ew.UnrolledUNet(stages=1, width=0.5))
    tensors = {f"network.{name}": value for name, value in solver.fresh((32, 32), 3).state_dict().items()}
    folder.mkdir(parents=True)
    record = {"frame_shapes": [[32, 32]], "photons_per_frame": [1e6, 1e6]}
    write_weights(folder / "weights.safetensors", Weights(tensors=tensors, spec=to_spec(solver), record=record))
    return folder


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


class TestWords:
    def test_a_shipped_network_alone_is_meant_without_a_word(self, place: Path, no_warnings: None) -> None:
        assert network_path("general") == shipped_networks()["general"]
        assert network_name("general") == "general"
        assert ew.from_spec("general").weights == "general"

    def test_a_folder_alone_is_meant_without_a_word(self, place: Path, no_warnings: None) -> None:
        network_in(place / "mine")
        assert names_network("mine")
        assert ew.from_spec("mine").group == 4
        assert ew.from_spec("mine").weights == str(place / "mine")

    def test_a_folder_alone_that_is_no_network_is_none(self, place: Path) -> None:
        (place / "mine").mkdir()
        assert not names_network("mine")
        with pytest.raises(ew.FormatError, match=r"holds no weights\.safetensors"):
            ew.from_spec("mine")

    @pytest.mark.parametrize("kind", ["network", "empty folder", "file"])
    def test_of_both_the_shipped_one_is_meant_and_the_other_offered(self, place: Path, kind: str) -> None:
        if kind == "network":
            network_in(place / "general")
        elif kind == "empty folder":
            (place / "general").mkdir()
        else:
            (place / "general").write_text("notes")
        with pytest.warns(ew.AmbiguousNameWarning) as told:
            solver = ew.from_spec("general")
        assert {str(each.message) for each in told} == {TOLD}
        assert (solver.weights, solver.group) == ("general", 16)
        with pytest.warns(ew.AmbiguousNameWarning, match=r"write \./general"):
            assert ew.from_spec({"name": "ptychopinn", "weights": "general"}).weights == "general"

    @pytest.mark.parametrize("word", ["./general", "general/", "../place/general", "./general/weights.safetensors"])
    def test_a_word_with_a_separator_is_a_path(self, place: Path, word: str, no_warnings: None) -> None:
        with pytest.raises(ew.InputError, match="nor is there a trained network of this name"):
            ew.from_spec(word)
        network_in(place / "general")
        solver = ew.from_spec(word)
        assert solver.group == 4
        assert Path(str(solver.weights)).is_absolute()
        # Also when it is named again by what it says of itself.
        assert ew.from_spec(ew.to_spec(solver)) == solver

    def test_a_path_is_written_so_that_it_is_understood_as_one(self) -> None:
        assert as_word(Path("general")) == "./general"
        assert as_word(Path("mine")) == "mine"
        assert as_word(Path("some/general")) == "some/general"


class TestJobs:
    def test_beside_a_job_a_word_means_the_shipped_one(self, place: Path) -> None:
        network_in(place / "jobs" / "general")
        for spec in ("general", {"name": "ptychopinn", "weights": "general"}, ["general", "rpie"]):
            with pytest.warns(ew.AmbiguousNameWarning, match=r"not jobs/general; write \./general"):
                assert resolve_paths(spec, Path("jobs")) == spec

    @pytest.mark.parametrize("word", ["./general", "general/"])
    def test_beside_a_job_a_path_means_the_folder(self, place: Path, word: str, no_warnings: None) -> None:
        folder = network_in(place / "jobs" / "general")
        assert Path(resolve_paths(word, Path("jobs"))) == folder
        spec = resolve_paths({"name": "ptychopinn", "weights": word}, Path("jobs"))
        assert Path(spec["weights"]) == folder

    def test_a_word_that_only_the_folder_of_the_job_knows_means_that(self, place: Path, no_warnings: None) -> None:
        folder = network_in(place / "jobs" / "mine")
        assert Path(resolve_paths("mine", Path("jobs"))) == folder
        with pytest.raises(ew.InputError, match="there is no solver 'mine'"):
            resolve_paths("mine", place)


class TestCommands:
    @pytest.fixture
    def scan(self, place: Path) -> Path:
        done("simulate", "lines", "--frame-px", 32, "--frames", 36, "-o", place / "scan.cxi")
        network_in(place / "general")
        return place / "scan.cxi"

    @staticmethod
    def group(path: Path) -> int:
        return ew.read_result(path).spec["group"]

    def test_reconstruct_says_it_in_one_line(self, scan: Path, place: Path) -> None:
        told = done("reconstruct", "scan.cxi", "general", "-o", "out.h5").err
        assert told.count(f"exitwave: warning: {TOLD}\n") == told.count("general means") == 1
        assert self.group(place / "out.h5") == 16
        told = done("reconstruct", "scan.cxi", "./general", "-o", "out.h5").err
        assert "general means" not in told
        assert self.group(place / "out.h5") == 4
        told = done("reconstruct", "scan.cxi", "ptychopinn", "--weights", "general", "-o", "out.h5").err
        assert told.count("general means") == 1
        assert self.group(place / "out.h5") == 16

    def test_run_says_it_in_one_line(self, scan: Path, place: Path) -> None:
        job = {"scan": "scan.cxi", "output": "out.h5", "solver": "general"}
        (place / "job.yaml").write_text(yaml.safe_dump(job))
        assert done("run", "job.yaml").err.count(TOLD) == 1
        assert self.group(place / "out.h5") == 16
        (place / "job.yaml").write_text(yaml.safe_dump(job | {"solver": "./general"}))
        assert "general means" not in done("run", "job.yaml").err
        assert self.group(place / "out.h5") == 4

    def test_compare_has_both(self, scan: Path, place: Path) -> None:
        told = done("compare", "scan.cxi", "general", "./general", "-o", "page.html", "--json", "page.json")
        assert told.err.count(TOLD) == 1
        entries = json.loads((place / "page.json").read_text())["entries"]
        assert list(entries) == ["general", "general #2"]
        assert [entry["solver"]["group"] for entry in entries.values()] == [16, 4]

    def test_export_takes_the_folder_by_its_path(
        self, scan: Path, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Refused here so that nothing is written into the package, nor converters needed.
        assert "./general is a trained network, which is written as --onnx" in refused(place, "export", "./general")
        seen: list[Path] = []

        def read(path: Path) -> Weights:
            seen.append(path)
            raise ew.FormatError("seen")

        monkeypatch.setattr(network_export, "read_weights", read)
        refused(place, "export", "./general", "--onnx")
        assert seen == [place / "general"]

    def test_a_training_says_how_its_network_is_called(self, place: Path) -> None:
        done("simulate", "lines", "--frame-px", 16, "--frames", 9, "-o", "scan.cxi")
        words = ("--epochs", 1, "--stages", 1, "--group", 4, "--width", 0.25, "--warm-start-epochs", 0)
        told = done("train", "ptychopinn", "scan.cxi", "--save", "general", *words)
        assert "next: exitwave reconstruct SCAN ./general --probe" in told.out
        assert "general means" not in told.err
        shutil.rmtree(place / "general")
        small = ew.UnrolledUNet(stages=1, width=0.25)
        solver = ew.PtychoPINN(epochs=1, network=small, group=4, warm_start=None)
        trained = ew.train(solver, [ew.read("scan.cxi")], save="general")
        assert trained.weights == str(place / "general")


def test_the_shipped_network_is_called_as_these_tests_assume() -> None:
    assert "general" in shipped_networks()
