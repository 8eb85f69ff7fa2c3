"""What exitwave pulls in: nothing that breaks CPU installations, nothing that forces its licence on users."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
UNWANTED = re.compile(
    r"torchvision|torchaudio|nvidia-.*|cuda-.*|timm|(pytorch-)?lightning|onnxruntime-gpu", re.IGNORECASE
)
LESSER = re.compile(r"\bLGPL|Lesser General Public|Library or Lesser", re.IGNORECASE)
GPL = re.compile(r"\bA?GPL\b|(?<!Lesser )General Public License", re.IGNORECASE)
BINARIES_OF_TORCH = ("torch", "triton")
"""A CUDA build of torch brings its own libraries; that is the user's choice of build, not ours."""


def core() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["dependencies"]]


def extra(name: str) -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["optional-dependencies"][name]]


def closure(asked: list[Requirement]) -> Iterator[Distribution]:
    """Every installed distribution that is needed for these, directly or not, except through torch."""
    waiting, seen = [r.name for r in asked], set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        yield found
        if name not in BINARIES_OF_TORCH:
            needs = (Requirement(line) for line in found.requires or [])
            waiting += [r.name for r in needs if r.marker is None or r.marker.evaluate({"extra": ""})]


def test_no_extra_asks_for_what_breaks_a_cpu_torch():
    asked = [*core(), *(Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra)]
    assert not [r.name for r in asked if UNWANTED.fullmatch(r.name)]


def test_torch_is_asked_for_without_a_build():
    torch = next(r for r in core() if r.name == "torch")
    assert "+" not in str(torch.specifier)
    assert torch.url is None


def test_core_pulls_in_nothing_unwanted():
    names = [found.name for found in closure(core())]
    assert len(names) > 15, "the core was not found; is exitwave installed?"
    assert not [name for name in names if UNWANTED.fullmatch(name)]


def test_core_pulls_in_no_gpl_package():
    bad = [found.name for found in closure(core()) if _is_gpl(found)]
    assert not bad


@pytest.mark.parametrize("name", ["train", "tensorboard", "export", "formats"])
def test_extras_need_nothing_unwanted(name):
    found = list(closure(extra(name)))
    assert len(found) > len(extra(name)), f"install exitwave[{name}] to run the tests"
    assert not [one.name for one in found if UNWANTED.fullmatch(one.name)]
    assert not [one.name for one in found if _is_gpl(one)]


def test_the_core_does_without_extras():
    needed = {found.name.lower().replace("_", "-") for found in closure(core())}
    optional = {r.name for name in ("train", "tensorboard", "export", "formats") for r in extra(name)}
    assert not needed & optional


def _is_gpl(found: Distribution) -> bool:
    words = found.metadata
    if words.get("License-Expression"):
        # "A OR B" leaves the choice to the user.
        parts = re.split(r"\bOR\b", words["License-Expression"])
        return all(re.search(r"\bA?GPL", part) and not LESSER.search(part) for part in parts)
    claims = [c for c in words.get_all("Classifier") or [] if c.startswith("License ::")]
    claims = claims or [(words.get("License") or "").splitlines()[0] if words.get("License") else ""]
    return any(GPL.search(claim) and not LESSER.search(claim) for claim in claims)
