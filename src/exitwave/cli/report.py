"""exitwave report OUT.h5 -o OUT.html"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.arguments import ResultPath
from exitwave.cli.evaluate import SplitHalf, Truth, judged
from exitwave.data.progress import phase
from exitwave.io.files import read_result
from exitwave.reports.page import report as write_report


def report(
    result: ResultPath,
    /,
    *,
    output: Annotated[
        Path | None, Parameter(alias="-o", help="HTML file; the result's name with .html by default.")
    ] = None,
    truth: Truth = None,
    split_half: SplitHalf = False,
) -> None:
    """Write one HTML page, readable offline, with pictures and figures of a result."""
    loaded = read_result(result)
    target = output or result.with_suffix(".html")
    found = judged(loaded, truth, split_half=split_half)
    with phase("drawing the report"):
        write_report(loaded, target, evaluation=found)
    print(f"report -> {target}")
