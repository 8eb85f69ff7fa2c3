"""exitwave export FILE -o FILE2, exitwave export NETWORK --onnx"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as validated

from exitwave.cli.arguments import FIGURE, FILES, Prepare, Reading
from exitwave.data.errors import InputError
from exitwave.io import formats
from exitwave.io.export import EXPORT_NAMES
from exitwave.io.files import read_prepared, read_result, write
from exitwave.io.network_paths import names_network
from exitwave.reports.paper_figure import ENDINGS, FigureOptions, save_figure
from exitwave.solvers.neural.export import Target, export_network


@validated(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", use_attribute_docstrings=True))
class _Figure(FigureOptions):
    plain: bool = False
    """The pixels alone, as three .png: complex picture, amplitude and phase, without scale bar and colours."""


def export(
    source: Annotated[str, Parameter(help="Result or scan file, or a trained network.", group=FILES)],
    /,
    *,
    output: Annotated[
        Path | None, Parameter(alias="-o", help="File to write; for networks also a folder.", group=FILES)
    ] = None,
    to: Annotated[
        str | None,
        Parameter(
            help="Format to write; from the ending of the output by default. Of a result "
            f"{', '.join(EXPORT_NAMES)} (vti and vtp of crystals); of a scan {', '.join(formats.writable())}.",
            group=FILES,
        ),
    ] = None,
    onnx: Annotated[bool, Parameter(help="Write a trained network as ONNX files.", negative="", group=FILES)] = False,
    openvino: Annotated[
        bool, Parameter(help="Write a trained network as OpenVINO files.", negative="", group=FILES)
    ] = False,
    figure: Annotated[_Figure | None, Parameter(name="*", group=FIGURE)] = None,
    reading: Reading = None,
    prepare: Prepare = (),
) -> None:
    """Write a result as a figure (.png, .svg, .pdf), as CXI, npz, TIFF or ptychodus product, a crystal for ParaView (.vti volume,
    .vtp surface), a scan (prepared if asked) in another scan format, or a trained network as ONNX or OpenVINO files, beside its
    weights unless another place is given.

    exitwave export out.h5 -o figure.pdf --panel phase --crop 5um
    """
    # A word until it is known what it names: ./general is another than general.
    path = Path(source)
    if output is not None and output.is_file() and path.is_file() and output.samefile(path):
        raise InputError(f"the output {output} is the source itself; choose another output path")
    if names_network(source):
        _network(source, output, onnx=onnx, openvino=openvino)
        return
    if onnx or openvino:
        raise InputError(
            f"{source} is no trained network, which is what --onnx and --openvino write; give the file or folder of one"
        )
    if output is None:
        raise InputError(f"no place to write {source} to; name a file: -o FILE")
    is_result = formats.detect(path).name == "result"
    as_figure = is_result and to is None and output.suffix.lower() in ENDINGS and not (figure and figure.plain)
    if as_figure:
        save_figure(read_result(path), output, figure)
    elif figure is not None and figure != _Figure(plain=figure.plain):
        raise InputError(
            f"--panel, --dpi, --colourmap and --crop are for figures of a result, which end in {', '.join(ENDINGS)} and are "
            f"not --plain; {output} is none"
        )
    else:
        write(read_result(path) if is_result else read_prepared(path, reading, prepare), output, format=to)
    print(f"{source} -> {output}")


def _network(source: str, output: Path | None, *, onnx: bool, openvino: bool) -> None:
    wanted: list[Target] = [*(["onnx"] if onnx else []), *(["openvino"] if openvino else [])]
    if not wanted:
        raise InputError(
            f"{source} is a trained network, which is written as --onnx or as --openvino; give one of them"
        )
    for kind in wanted:
        print(f"{source} -> {', '.join(str(path) for path in export_network(source, to=kind, output=output))}")
