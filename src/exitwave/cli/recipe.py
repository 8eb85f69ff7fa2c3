"""exitwave recipe FILE > my.yaml"""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.arguments import FILES
from exitwave.data.errors import FormatError
from exitwave.io.atomic import replacing
from exitwave.io.formats import detect
from exitwave.io.lfs import require_fetched
from exitwave.io.recipes.draft import Draft, draft


def recipe(
    file: Annotated[
        Path, Parameter(help="HDF5 file of a layout that no format and no shipped recipe knows.", group=FILES)
    ],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(alias="-o", help="Recipe to write; printed where left out.", group=FILES)
    ] = None,
) -> None:
    """Write a draft of a recipe: frames, positions and numbers as far as they were recognised by name, shape and value.

    exitwave recipe FILE > my.yaml, then exitwave info FILE --recipe my.yaml. What the file did not say is marked (guess), what
    was not found stands there as a comment. The whole content of the file follows, as comments.
    """
    require_fetched(file)
    made = draft(file)
    if output is None:
        print(made.text, end="")
    else:
        with replacing(output) as partial:
            partial.write_text(made.text, encoding="utf-8")
    for line in _told(made, file, output):
        print(f"exitwave: {line}", file=sys.stderr)


def _told(made: Draft, file: Path, output: Path | None) -> list[str]:
    missing = (
        f"not found: {', '.join(made.missing)}" if made.missing else "all that a reconstruction needs was recognised"
    )
    guessed = f"; guessed: {', '.join(made.guessed)}" if made.guessed else ""
    orient = "" if made.rocking_curve else " --auto-orient"
    lines = [f"{missing}{guessed}", f"next: exitwave info {file} --recipe {output or 'my.yaml'}{orient}"]
    try:
        return [f"{file} is read without a recipe, too ({detect(file).title})", *lines]
    except FormatError:
        return lines
