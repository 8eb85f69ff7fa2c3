"""tike archives beyond what all formats are tested for."""

import numpy as np
import pytest

from exitwave.data.errors import FormatError
from exitwave.io import formats
from exitwave.io.assemble import ReadOptions
from format_files import STATED, write_tike


@pytest.mark.parametrize("shifted", [True, False])
def test_the_beam_is_found_in_the_corner_or_in_the_middle(tmp_path, oracle, truth, explain, shifted):
    write_tike(tmp_path / "a.npz", oracle, truth, shifted=shifted)
    scan = formats.read_scan(tmp_path / "a.npz", ReadOptions(**STATED))
    explain(scan)
    assert scan.provenance["beam_in_file"] == ("corner" if shifted else "middle")


def test_several_rotations_and_other_arrays_are_refused(tmp_path, oracle):
    path = tmp_path / "a.npz"
    np.savez(path, data=np.stack([oracle.patterns] * 2), scan=np.zeros((2, 12, 2)))
    with pytest.raises(FormatError, match="one rotation"):
        formats.read_scan(path, ReadOptions(**STATED))
    np.savez(path, data=oracle.patterns, scan=np.zeros((12, 3)))
    with pytest.raises(FormatError, match=r"\(frame, 2\)"):
        formats.read_scan(path, ReadOptions(**STATED))
    assert formats.FORMATS["tike-npz"].recognises(path)
    with pytest.raises(FormatError, match="psi"):
        formats.FORMATS["tike-npz"].read_estimate(path)
