"""exitwave view OUT.h5"""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.arguments import ResultPath
from exitwave.io.files import read_result
from exitwave.reports.viewer import view as write_view


def view(
    result: ResultPath,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(alias="-o", help="HTML file; the result's name with _view.html by default.")
    ] = None,
    browser: Annotated[
        bool, Parameter(help="Open the page in the browser, where there is a screen.", negative="--no-browser")
    ] = True,
) -> None:
    """Look at a result in the browser: pan, zoom, contrast, line profiles, slices, probe modes.

    Writes one HTML page, which needs no server and opens offline, and opens it.
    """
    target = output or result.with_name(f"{result.stem}_view.html")
    write_view(read_result(result), target)
    print(f"view -> {target}")
    if browser and _has_screen():
        webbrowser.open(target.absolute().as_uri())


def _has_screen() -> bool:
    """Whether a browser could show a window: without one some systems start one in the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
