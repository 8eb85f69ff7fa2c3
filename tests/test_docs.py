"""What the words promise is there: commands, options, code, tables, links."""

import json
import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

import exitwave as ew
from command import done
from exitwave.data.prepare.steps import STEPS
from exitwave.io.diffractometers import parsed
from exitwave.io.recipes.schema import parse_recipe
from exitwave.running.job import make_job
from exitwave.solvers.registry import solvers
from made_crystals import box, curve, sampled
from pages import PAGES, ROOT, blocks, commands, script, study_parsers

TABLES = script("tables")
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)|\{(?:image|literalinclude)\} (\S+)|!\[[^\]]*\]\(([^)]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
OF_SOLVERS = ("reconstruct", "train")
"""Commands whose options are those of the solver named."""
OF_OTHERS = {"--index-url", "--find-links", "--check", "--logdir"}
"""Options of pip, of TensorBoard and of our own scripts, which pages name too."""


@cache
def help_of(command: str, solver: str = "") -> str:
    words = (command, "scan.cxi", solver, "--help") if solver else (command, "--help")
    return done(*words).out


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_command_and_option_shown_exists(page):
    for words in commands(page):
        command, rest = words[0], words[1:]
        # The folder of a trained network stands for the solver that was trained.
        named = [
            word if word in solvers() else "ptychopinn" for word in rest if word in solvers() or word.endswith("/")
        ]
        solver = named[0] if named and command in OF_SOLVERS else ""
        listed = set(OPTION.findall(help_of(command, solver)))
        asked = {word.split("=")[0] for word in rest if word.startswith("--")}
        assert asked <= listed | {"--help"}, f"{' '.join(words)}: no option {asked - listed}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_option_named_in_prose_exists(page):
    pages = [
        help_of(name)
        for name in ("info", "simulate", "run", "evaluate", "compare", "export", "view", "report", "train")
    ]
    pages.append(done("--help").out)
    pages += [help_of("reconstruct", name) for name, cls in TABLES.members().items() if not cls.combines]
    pages += [parser.format_help() for parser in study_parsers().values()]
    known = {option for text in pages for option in OPTION.findall(text)} | OF_OTHERS
    named = {option for code in re.findall(r"`[^`\n]+`", page.read_text("utf-8")) for option in OPTION.findall(code)}
    assert named <= known, f"nobody knows {named - known}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_preparation_steps_shown_exist(page):
    for words in commands(page):
        for place, word in enumerate(words):
            if word == "--prepare":
                assert words[place + 1].split("=")[0] in STEPS


def test_every_command_of_the_program_is_shown_in_the_readme():
    listed = re.findall(r"^│ ([a-z]+) ", done("--help").out, flags=re.MULTILINE)
    assert len(listed) >= 8
    assert set(listed) <= {words[0] for words in commands(ROOT / "README.md")}


def test_every_command_of_a_study_that_is_told_or_recorded_is_understood():
    texts = [page.read_text("utf-8") for page in (*PAGES, ROOT / "Makefile")]
    texts += [path.read_text("utf-8") for path in (ROOT / "benchmarks" / "results").glob("*.json")]
    told = [words for text in texts for words in re.findall(r"python benchmarks ([^;`#\"\n]+)", text)]
    assert len(told) > 20
    parsers = study_parsers()
    for name, *words in map(shlex.split, told):
        if name != "STUDY" and "--help" not in words:
            parsers[name].parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_make_targets_shown_exist(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make (\w[\w-]*)", page.read_text("utf-8"), flags=re.MULTILINE)) <= targets


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_links_lead_to_files(page):
    for found in LINK.findall(page.read_text("utf-8")):
        target = next(filter(None, found))
        assert re.match(r"https?://", target) or (page.parent / target).exists(), f"{target} is not there"


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.name)
def test_python_of_the_pages_runs(page, tmp_path, monkeypatch):
    """All blocks of a page, one after another, on small scans and with few epochs."""
    monkeypatch.chdir(tmp_path)
    _lay_out_files(tmp_path)
    text = "\n".join(blocks(page, "python"))
    text = re.sub(r"\bepochs=\d+", "epochs=3", text)
    text = re.sub(r"\bframes=\d+", "frames=49", re.sub(r"frame_px=\d+", "frame_px=32", text))
    exec(compile(text, str(page), "exec"), {"__name__": "page"})


def _lay_out_files(folder: Path) -> None:
    scan = ew.simulate("siemens", frames=49, frame_px=48, overlap=0.7).scan
    for name in ("scan.cxi", "gold_balls.cxi"):
        ew.write(scan, folder / name)
    (folder / "job.yaml").write_text("{scan: scan.cxi, output: result.h5, solver: {name: rpie, epochs: 2}}")
    ew.run_job(ew.read_job(folder / "job.yaml"))


def test_yaml_of_the_pages_is_understood():
    seen = 0
    for page in PAGES:
        for text in blocks(page, "yaml"):
            content = yaml.safe_load(text)
            if "frames" in content:
                assert parse_recipe(text, page.name).title
            elif "sample" in content:
                assert parsed(content, page.name).named("mine").sample_circles
            else:
                job = make_job(content, page.name)
                assert isinstance(job.solver, ew.Solver)
                assert all((step if isinstance(step, str) else next(iter(step))) in STEPS for step in job.prepare)
            seen += 1
    assert seen >= 2


def test_tables_are_up_to_date():
    for page in TABLES.PAGES:
        text = page.read_text("utf-8")
        assert TABLES.filled(text) == text, f"{page.name} is out of date: run python docs/scripts/tables.py"


def test_every_table_stands_on_a_page():
    placed = {name for page in TABLES.PAGES for _, name, _ in TABLES.PLACE.findall(page.read_text("utf-8"))}
    assert placed == set(TABLES.TABLES)


def test_every_solver_option_is_explained():
    for name, cls in TABLES.members().items():
        shown = TABLES.solver_options(name)
        for option, _, text in TABLES.described(cls):
            assert text, f"{name}.{option} has no docstring"
            assert f"| `{option}` |" in shown


def test_figures_keep_the_worst_of_many_and_say_what_was_missed(tmp_path, monkeypatch):
    rows = [{"figure": f"error, case {n}", "value": n / 10, "target": "< 0.4", "reached": n < 4} for n in range(6)]
    (tmp_path / "figures.json").write_text(json.dumps({"study": {"rows": rows}}))
    monkeypatch.setattr(TABLES, "FIGURES", tmp_path / "figures.json")
    assert "| error (worst of 6 cases, of which 4 reach the target: case 5) | 0.5 | < 0.4 | no |" in TABLES.figures()


def test_every_public_name_is_in_the_reference():
    text = (ROOT / "docs" / "api.md").read_text("utf-8")
    missing = [name for name in ew.__all__ if not re.search(rf":: exitwave\.{name}$", text, flags=re.MULTILINE)]
    assert not missing


def test_every_figure_that_evaluate_prints_is_explained():
    made = ew.simulate("textured", frames=36, frame_px=32)
    solver = ew.RPIE(epochs=2)
    result = ew.reconstruct(made.scan, solver, setup=ew.Setup(free_fraction=0.05))
    first, second = ew.reconstruct_halves(made.scan, solver, result)
    ids = {*ew.evaluate(result, truth=made.truth).metrics, *ew.compare_halves(first.estimate, second.estimate).metrics}
    text = (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    for name in ids:
        parts = (name, name.removesuffix("-split"), re.sub(r"-(amplitude|phase|low|mid|high)$", "", name))
        assert any(f"`{part}`" in text for part in parts), f"{name} is not explained"


def test_paths_of_the_result_page_are_in_a_result(tmp_path):
    scan = ew.simulate("siemens", frames=25, frame_px=32).scan
    several = ew.ensemble(
        ew.Refined(
            solver=ew.RPIE(epochs=6),
            variations=1,
            refine_positions=True,
            refine_brightness=True,
            refine_background=True,
        ),
        size=2,
    )
    ew.write(ew.reconstruct(scan, several, setup=ew.Setup(slices=2, slice_spacing_m=1e-6)), tmp_path / "result.h5")
    ew.write(ew.reconstruct(ew.simulate_pattern(frame_px=48).scan, ew.ER(epochs=2)), tmp_path / "pattern.h5")
    of = curve()
    crystal = ew.Result(
        estimate=sampled(of, box((1e-7, 1e-7, 1e-7), np.eye(3), 5e-9)),
        geometry=of.geometry,
        object_pixel_m=of.object_pixel_m,
        spec={"name": "er"},
    )
    ew.write(crystal, tmp_path / "crystal.h5")
    text = (ROOT / "docs" / "results.md").read_text("utf-8")
    named = [path.rstrip("./") for path in re.findall(r"`(/entry_1[^`]*)`", text)]
    assert len(named) > 12
    for path in named:
        kind = "pattern" if "support" in path or "beam_photons" in path else "result"
        with h5py.File(tmp_path / f"{'crystal' if 'basis_vectors' in path else kind}.h5") as file:
            assert path in file, f"{path} is not in a result"


def test_pictures_are_small_and_each_is_shown_and_made_by_the_command():
    made = set(script("pictures").PICTURES)
    images = {path.stem: path for path in (ROOT / "docs" / "images").glob("*.png")}
    assert set(images) == made
    text = "".join(page.read_text("utf-8") for page in PAGES)
    for name, path in images.items():
        assert path.stat().st_size < 300_000
        assert f"images/{name}.png" in text, f"{name}.png is shown nowhere"


def test_the_table_of_layers_is_what_import_linter_checks():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (checked,) = [c["layers"] for c in contracts if c["type"] == "layers" and c["containers"] == ["exitwave"]]
    house = (ROOT / "CONTRIBUTING.md").read_text("utf-8").split("| layer | holds |")[1].split("\n\n")[0]
    told = [set(re.findall(r"`(\w+)`", row.split("|")[1])) for row in house.splitlines()[2:]]
    assert told == [set(layer.split(" | ")) for layer in checked]


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "extending").glob("*.py")), ids=lambda path: path.stem)
def test_every_example_of_something_new_is_shown_on_its_page(path):
    page = ROOT / "docs" / "extending" / f"{path.stem}.md"
    assert f"{{literalinclude}} ../../examples/extending/{path.name}\n" in page.read_text("utf-8")


def test_what_a_pattern_meets_on_its_way_is_there():
    text = (ROOT / "docs" / "how_a_pattern_travels.md").read_text("utf-8")
    source = ROOT / "src" / "exitwave"
    code = "".join(path.read_text("utf-8") for path in source.rglob("*.py"))
    paths = set(re.findall(r"[\w/]+/\w+\.py", text))
    assert len(paths) > 20
    assert not [path for path in paths if not (source / path).exists()]
    names = {name for words in re.findall(r"`([A-Za-z_.]+)`", text) for name in words.split(".") if name != "py"}
    assert not {name for name in names if not re.search(rf"\b{name}\b", code)}


def test_the_changelog_tells_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_what_is_pinned_fits_what_is_asked_for():
    """Every dependency, of all extras, has a tested version in constraints.txt."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {_plain(line.split("==")[0]) for line in lines if "==" in line}
    # An extra may ask for other extras of the package itself.
    assert {_plain(re.split(r"[<>=\[;]", name)[0]) for name in asked} - {"exitwave"} <= pinned


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
