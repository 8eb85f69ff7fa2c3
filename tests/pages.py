"""README and documentation as tests see them: the pages, and the blocks of code in them."""

import argparse
import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("**/[!_]*.md")),
]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language that stand at the left margin of a page."""
    return [text for kind, text in _FENCE.findall(page.read_text("utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every exitwave command in the bash blocks of a page, in words, comments and quotes left out."""
    lines = [
        line.split("#")[0].replace("'", " ").split() for text in blocks(page, "bash") for line in text.splitlines()
    ]
    return [words[1:] for words in lines if words and words[0] == "exitwave"]


def script(name: str):
    """A script of docs/scripts/ as a module; it may import those beside it."""
    folder = ROOT / "docs" / "scripts"
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(f"docs_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def benchmarks(name: str):
    """A module of benchmarks/, such as `harness.scoring`."""
    if str(ROOT / "benchmarks") not in sys.path:
        sys.path.append(str(ROOT / "benchmarks"))
    return importlib.import_module(name)


def study_parsers() -> dict[str, argparse.ArgumentParser]:
    """The command line of every study of benchmarks/."""
    parser_of = benchmarks("harness.command_line").parser_of
    names = sorted(path.stem for path in (ROOT / "benchmarks" / "studies").glob("[!_]*.py"))
    return {name: parser_of(benchmarks(f"studies.{name}")) for name in names}
