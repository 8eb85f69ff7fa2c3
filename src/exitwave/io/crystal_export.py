"""Export of a crystal for other programs, in the laboratory frame: ParaView volumes and surfaces, npz, TIFF."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from exitwave.data.estimate import BraggEstimate
from exitwave.data.laboratory_crystal import LaboratoryCrystal
from exitwave.data.result import Result
from exitwave.io import npz_arrays, vtk
from exitwave.io.imagej import write_imagej

NANOMETRE, PICOMETRE = 1e-9, 1e-12


def write_crystal(path: Path, result: Result, name: str) -> None:
    """Write the crystal of a result in one of `WRITERS`."""
    # By the package's front door: what lays a crystal into the laboratory stands in a room beside this one.
    import exitwave

    assert isinstance(result.estimate, BraggEstimate)
    WRITERS[name](path, exitwave.crystal_in_laboratory(result.estimate))


def _write_vtp(path: Path, crystal: LaboratoryCrystal) -> None:
    """Points (x, y, z) in nanometres."""
    import exitwave

    surface = exitwave.crystal_surface(crystal)
    fields = {
        "displacement_pm": (surface.displacement_m / PICOMETRE).astype(np.float32),
        "strain": surface.strain.astype(np.float32),
    }
    points = (surface.points_m[:, ::-1] / NANOMETRE).astype(np.float32)
    vtk.write_triangles(path, points, surface.triangles, fields)


def _write_vti(path: Path, crystal: LaboratoryCrystal) -> None:
    """In nanometres: ParaView has no units, and metres would be too small for it."""
    spacing, origin = crystal.voxel_m / NANOMETRE, (crystal.origin_m / NANOMETRE).tolist()
    vtk.write_volume(path, fields_of(crystal), (spacing, spacing, spacing), (origin[0], origin[1], origin[2]))


def _write_npz(path: Path, crystal: LaboratoryCrystal) -> None:
    arrays = {
        **fields_of(crystal),
        "voxel_m": np.float64(crystal.voxel_m),
        "z_m": crystal.axis_m(0),
        "y_m": crystal.axis_m(1),
        "x_m": crystal.axis_m(2),
        "scattering_vector_zyx": crystal.scattering_vector,
    }
    npz_arrays.write(path, {name: np.asarray(value) for name, value in arrays.items()})


def _write_tiff(path: Path, crystal: LaboratoryCrystal) -> None:
    """z as pages, fields as channels."""
    fields = {name: values.astype(np.float32) for name, values in fields_of(crystal).items()}
    write_imagej(path, np.stack(list(fields.values()), axis=1), list(fields), (crystal.voxel_m,) * 3)


def fields_of(crystal: LaboratoryCrystal) -> dict[str, np.ndarray]:
    """What is exported of every voxel (z, y, x): NaN where displacement and strain are not known."""
    return {
        "amplitude": crystal.amplitude.astype(np.float32),
        "phase_rad": crystal.phase.astype(np.float32),
        "displacement_pm": (crystal.displacement_m / PICOMETRE).astype(np.float32),
        "strain": crystal.strain.astype(np.float32),
        "support": crystal.support.astype(np.uint8),
    }


WRITERS: dict[str, Callable[[Path, LaboratoryCrystal], None]] = {
    "vti": _write_vti,
    "vtp": _write_vtp,
    "npz": _write_npz,
    "tiff": _write_tiff,
}
