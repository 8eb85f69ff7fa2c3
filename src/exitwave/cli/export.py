"""exitwave export FILE -o FILE2, exitwave export NETWORK --onnx"""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from exitwave.cli.arguments import FILES, Prepare, Reading
from exitwave.data.errors import InputError
from exitwave.io import formats
from exitwave.io.export import EXPORTS
from exitwave.io.files import read_prepared, read_result, write
from exitwave.io.network_paths import names_network
from exitwave.solvers.neural.export import Target, export_network


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
            help=f"Format to write; from the ending of the output by default. Of a result {', '.join(EXPORTS)}; of a scan "
            f"{', '.join(formats.writable())}.",
            group=FILES,
        ),
    ] = None,
    onnx: Annotated[bool, Parameter(help="Write a trained network as ONNX files.", negative="", group=FILES)] = False,
    openvino: Annotated[
        bool, Parameter(help="Write a trained network as OpenVINO files.", negative="", group=FILES)
    ] = False,
    reading: Reading = None,
    prepare: Prepare = (),
) -> None:
    """Write a result as CXI, npz, TIFF, PNG or ptychodus product, a scan (prepared if asked) in another scan format, or a
    trained network as ONNX or OpenVINO files, beside its weights unless another place is given.
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
    if formats.detect(path).name == "result":
        write(read_result(path), output, format=to)
    else:
        write(read_prepared(path, reading, prepare), output, format=to)
    print(f"{source} -> {output}")


def _network(source: str, output: Path | None, *, onnx: bool, openvino: bool) -> None:
    wanted: list[Target] = [*(["onnx"] if onnx else []), *(["openvino"] if openvino else [])]
    if not wanted:
        raise InputError(
            f"{source} is a trained network, which is written as --onnx or as --openvino; give one of them"
        )
    for kind in wanted:
        print(f"{source} -> {', '.join(str(path) for path in export_network(source, to=kind, output=output))}")
