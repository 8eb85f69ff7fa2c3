"""The page "In Python and notebooks" as a notebook runs it: every cell, in a kernel of its own, with what it shows."""

import re

import pytest

import exitwave as ew
from pages import ROOT, blocks

nbclient = pytest.importorskip("nbclient", reason="nbclient and ipykernel run notebooks: pip install exitwave[dev]")
nbformat = pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")


def shown(cell) -> set[str]:
    """The kinds of output below a cell."""
    return {kind for output in cell.outputs for kind in output.get("data", {})}


def text(cell) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory):
    place = tmp_path_factory.mktemp("notebook")
    ew.write(ew.simulate("circuit", frame_px=32, frames=25, seed=1).scan, place / "scan.cxi")
    # All of the page runs as a script elsewhere; here what shows something.
    showing = [
        each for each in blocks(ROOT / "docs/python.md", "python") if not re.search(r"save_figure|np\.|start=", each)
    ]
    code = [re.sub(r"\bepochs=\d+", "epochs=2", block) for block in showing]
    # Values that end a cell show themselves.
    code += ["scan", "result", "ew.inspect(scan)", "halves", "compared", "result.estimate"]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in code])
    client = nbclient.NotebookClient(
        made, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(place)}}
    )
    return client.execute()


def test_every_cell_runs_and_none_ends_with_a_warning(notebook) -> None:
    for cell in notebook.cells:
        assert "Traceback" not in text(cell)
        assert not re.search(r"Warning|^INFO:(?!exitwave)", text(cell), re.MULTILINE), text(cell)


def test_values_show_themselves_with_a_picture(notebook) -> None:
    for cell in notebook.cells[-6:]:
        assert "text/html" in shown(cell), cell.source


def test_figures_that_end_a_cell_are_shown_once(notebook) -> None:
    ending = [cell for cell in notebook.cells if re.match(r"\w+\.(plot|show)\(\)", cell.source.splitlines()[-1])]
    assert len(ending) >= 4
    for cell in ending:
        assert ["image/png" in output.data for output in cell.outputs if "data" in output] == [True], cell.source


def test_no_picture_is_asked_for_where_no_cell_ends(notebook) -> None:
    for cell in notebook.cells:
        assert not re.findall(r"(?m)^\w+\.(?:plot|show)\(\)(?=[^\n]*\n[^\n]*\S)", cell.source), cell.source


def test_a_run_leaves_one_line_of_progress(notebook) -> None:
    (cell,) = [cell for cell in notebook.cells if "refined = ew.reconstruct" in cell.source]
    lines = text(cell).strip("\n").split("\n")
    assert len(lines) == 1
    assert "epochs, residual" in lines[0].split("\r")[-1]
