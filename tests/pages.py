"""README and documentation as tests see them: the pages, and the blocks of code in them."""

import importlib.util
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a language that stand at the left margin of a page."""
    return [text for kind, text in _FENCE.findall(page.read_text("utf-8")) if kind == language]


def commands(page: Path) -> list[list[str]]:
    """Every exitwave command in the bash blocks of a page, in words, comments left out."""
    lines = [line.split("#")[0].split() for text in blocks(page, "bash") for line in text.splitlines()]
    return [words[1:] for words in lines if words and words[0] == "exitwave"]


def script(name: str):
    """A script of docs/ as a module; it may import those beside it."""
    if str(ROOT / "docs") not in sys.path:
        sys.path.append(str(ROOT / "docs"))
    spec = importlib.util.spec_from_file_location(f"docs_{name}", ROOT / "docs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
