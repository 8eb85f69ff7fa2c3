"""exitwave export FILE -o FILE2"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.arguments import FILES, Output, Prepare, Reading
from exitwave.data.errors import InputError
from exitwave.files import read, read_result, write
from exitwave.io import formats
from exitwave.job import prepared


def export(
    source: Annotated[Path, Parameter(help="Result or scan file.", group=FILES)],
    /,
    *,
    output: Output,
    to: Annotated[
        str | None, Parameter(help="Format to write; from the ending of the output by default.", group=FILES)
    ] = None,
    reading: Reading = None,
    prepare: Prepare = (),
) -> None:
    """Write a result as CXI, npz, TIFF, PNG or ptychodus product, or a scan (prepared if asked) in another scan format."""
    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"the output {output} is the source itself; choose another output path")
    if formats.detect(source).name == "result":
        write(read_result(source), output, format=to)
    else:
        write(prepared(read(source, reading), tuple(prepare)), output, format=to)
    print(f"{source} -> {output}")
