"""Calls as people write them: paths, names and classes for values, options in the wrong place, progress and logging."""

import contextlib
import io
import logging
import sys
import types
import warnings

import numpy as np
import pytest

import exitwave as ew
from exitwave.running.progress import progress_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calls")
    scan = ew.simulate("siemens", frames=25, frame_px=32, overlap=0.7).scan
    ew.write(scan, folder / "scan.cxi")
    ew.write(ew.reconstruct(scan, ew.RPIE(epochs=2)), folder / "result.h5")
    return folder


def test_paths_names_and_classes_stand_for_what_they_mean(folder):
    scan, result = ew.read(folder / "scan.cxi"), ew.read_result(folder / "result.h5")
    start = {"start": result.estimate, "probe": result.estimate.probe}
    expected = ew.reconstruct(scan, ew.RPIE(epochs=1), **start)
    assert ew.inspect(str(folder / "scan.cxi")).frames == len(scan)
    assert ew.evaluate(folder / "result.h5").metrics["residual"] == pytest.approx(result.residual)
    for given in (folder / "result.h5", result):
        made = ew.reconstruct(str(folder / "scan.cxi"), {"name": "rpie", "epochs": 1}, start=given, probe=given)
        assert made.residual == expected.residual
    first = {"rpie": ew.iterate(scan, "rpie"), "class": ew.iterate(scan, ew.RPIE), "value": ew.iterate(scan, ew.RPIE())}
    residuals = {name: next(steps).residual for name, steps in first.items()}
    assert len(set(residuals.values())) == 1
    compared = ew.compare(folder / "scan.cxi", [ew.RPIE(epochs=1), folder / "result.h5"])
    assert [entry.remark for entry in compared.entries] == ["", ""]


@pytest.mark.parametrize(
    ("options", "call"),
    [
        (
            {"epochs": 50, "refine_positions": True},
            "ew.reconstruct(scan, ew.refine(ew.RPIE(epochs=50), ew.RefinementOptions(refine_positions=True)))",
        ),
        (
            {"modes": 2, "patience": 5},
            "ew.reconstruct(scan, ew.RPIE(), setup=ew.Setup(modes=2), stop=ew.Stop(patience=5))",
        ),
        ({"epoch": 50}, "ew.reconstruct(scan, ew.RPIE(epochs=50))"),
        ({"energy_ev": 8e3}, "ew.reconstruct(ew.read(PATH, ew.ReadOptions(energy_ev=8000.0)), ew.RPIE())"),
        ({"prob": 1}, "did you mean probe?"),
        ({"banana": 1}, "its arguments are measurement, solver, start"),
    ],
)
def test_an_option_in_the_wrong_place_is_answered_with_the_right_call(options, call):
    with pytest.raises(ew.InputError) as refused:
        ew.reconstruct("scan.cxi", "rpie", **options)
    assert str(refused.value).endswith(call) or call in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_right_call_is_one_that_works(folder):
    scan = ew.read(folder / "scan.cxi")
    with pytest.raises(ew.InputError) as refused:
        ew.reconstruct(scan, "rpie", epochs=2, refine_positions=True, modes=2)
    call = str(refused.value).rpartition(": ")[2]
    assert eval(call, {"ew": ew, "scan": scan}).estimate.probe.shape[0] == 2


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: ew.RPIE(alhpa=0.1), "rpie has no option 'alhpa' (did you mean alpha?); its options are epochs, alpha"),
        (lambda: ew.RPIE(alpha=9), "rpie: alpha = 9: Input should be less than or equal to 1"),
        (lambda: ew.Setup(mods=2), "Setup has no option 'mods'"),
        (lambda: ew.RPIE(20), "options of rpie are given by name: RPIE(epochs=...)"),
    ],
)
def test_options_are_refused_in_one_line(make, told):
    with pytest.raises(ew.InputError) as refused:
        make()
    assert str(refused.value).startswith(told)
    assert "\n" not in str(refused.value)


def test_what_is_no_measurement_and_no_solver_is_named(folder):
    made = ew.simulate("siemens", frames=16, frame_px=32)
    for given, told in (
        (made, "made.scan"),
        (np.zeros((3, 8, 8)), "ndarray is no measurement"),
        ("no.cxi", "no.cxi does"),
    ):
        with pytest.raises(ew.InputError, match=told):
            ew.reconstruct(given)
    with pytest.raises(ew.InputError, match="int is no solver"):
        ew.iterate(made.scan, 3)


def test_iterate_stops_saves_and_goes_on_as_reconstruct_does(folder, tmp_path):
    scan = ew.read(folder / "scan.cxi")
    kept, seen = ew.Checkpoints(path=tmp_path / "run.checkpoint", every=2), list[int]()
    stop = ew.Stop(patience=1, least_gain=1.0)
    steps = list(
        ew.iterate(scan, ew.RPIE(epochs=9), stop=stop, checkpoints=kept, watch=lambda step, _: seen.append(step.epoch))
    )
    assert [step.epoch for step in steps] == seen == [1, 2]
    going_on = ew.Checkpoints(path=kept.path, every=2, resume=True)
    rest = list(ew.iterate(scan, ew.RPIE(epochs=4), checkpoints=going_on))
    whole = list(ew.iterate(scan, ew.RPIE(epochs=4)))
    assert [step.epoch for step in rest] == [3, 4]
    assert rest[-1].residual == pytest.approx(whole[-1].residual, rel=1e-6)


def test_what_cannot_be_run_is_refused_where_iterate_is_called(folder):
    with pytest.raises(ew.InputError, match="is for"):
        ew.iterate(ew.read(folder / "scan.cxi"), ew.HIO())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_on_terminals_only_and_only_where_wanted(folder, monkeypatch):
    scan = ew.read(folder / "scan.cxi")
    for stream, wanted, expected in (
        (Terminal(), True, True),
        (Terminal(), False, False),
        (io.StringIO(), True, False),
    ):
        with contextlib.redirect_stderr(stream):
            ew.reconstruct(scan, ew.RPIE(epochs=2), progress=wanted)
        assert ("residual" in stream.getvalue()) == expected


def test_notebooks_get_a_line_that_is_written_over(monkeypatch):
    shell = type("ZMQInteractiveShell", (), {})()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    stream = io.StringIO()
    with contextlib.redirect_stderr(stream), progress_of({"rpie": 4}, wanted=True) as show:
        for epoch in (1, 2, 3, 4):
            show("rpie", types.SimpleNamespace(epoch=epoch, residual=0.1 / epoch), None)
    lines = stream.getvalue().rstrip("\n").split("\r")[1:]
    assert len(lines) == 4
    assert "4 of 4 epochs, residual 0.025" in lines[-1]
    assert stream.getvalue().count("\n") == 1


def test_runs_are_logged_and_silent_otherwise(folder, caplog, capfd):
    scan = ew.read(folder / "scan.cxi")
    with caplog.at_level(logging.INFO, logger="exitwave"):
        ew.reconstruct(scan, ew.RPIE(epochs=2))
    assert any("rpie: epoch 2 of 2, residual" in message for message in caplog.messages)
    capfd.readouterr()
    ew.reconstruct(scan, ew.RPIE(epochs=2))
    assert capfd.readouterr() == ("", "")


def test_arrays_of_numpy_come_and_go_without_warnings(folder):
    scan = ew.read(folder / "scan.cxi")

    def sealed(values):
        array = np.asarray(values).copy()
        array.setflags(write=False)
        return array

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same = ew.Scan(
            patterns=sealed(scan.frames(slice(None))),
            positions_m=sealed(scan.positions_m),
            mask=sealed(scan.mask),
            geometry=scan.geometry,
        )
        step = next(ew.iterate(same, ew.RPIE(epochs=1), probe=sealed(np.ones((32, 32), dtype=complex))))
        arrays = step.estimate.numpy()
        assert np.abs(arrays["object"]).max() > 0
        assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_a_file_is_replaced_with_a_word_silently_or_not_at_all(folder, tmp_path):
    result, path = ew.read_result(folder / "result.h5"), tmp_path / "again.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ew.write(result, path)
        ew.write(result, path, overwrite=True)
    with pytest.warns(ew.OverwriteWarning, match=r"again\.h5 is there already and is replaced"):
        ew.write(result, path)
    before = path.read_bytes()
    with pytest.raises(ew.InputError, match="is there already"):
        ew.write(ew.read(folder / "scan.cxi"), path, "cxi", overwrite=False)
    assert path.read_bytes() == before
