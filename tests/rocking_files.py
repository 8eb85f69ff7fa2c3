"""Files of rocking curves as other programs write them, of the counts in rocking_curves.py."""

from pathlib import Path

import h5py
import numpy as np
import tifffile

from rocking_curves import COLUMNS, FRAMES, ROWS, STILL_DEG, THETA_DEG, counts

ROI = (3, 3 + FRAMES, 100, 100 + ROWS, 210, 210 + COLUMNS)
DIRECT_BEAM_PX = (96.5, 230.0)
"""Of the whole detector."""


def spec_text(angles: np.ndarray = THETA_DEG, number: int = 54) -> str:
    """A SPEC file of two scans as 34-ID-C has them; the second rocked theta, between whose points theta stood as before."""
    still = {"Delta": 32.174, "Theta": 0.22, "Chi": 90.0, "Phi": -5.0, "Mu": 0.0, "Gamma": 12.6346, "camdist": 500.0}
    names = "  ".join([*still, "Sample X", "Energy"])
    places = " ".join(map(str, [*still.values(), 1.5, 9.0]))
    rows = "\n".join(f"{angle:.7f} {100 * i} 0.25 {1000 + i}" for i, angle in enumerate(angles))
    return f"""#F Staff20-1a.spec
#E 1580840902
#D Tue Feb 04 12:00:00 2020
#O0 {names}

#S {number - 1}  ascan  samx 0 1 2 0.25
#P0 {places}
#N 2
#L Sample X  Monitor
0 1
0.5 1
1 1

#S {number}  ascan  th -0.28 0.72 200 0.25
#D Tue Feb 04 12:28:23 2020
#P0 {places}
#UIMDET 34idcTIM2:
#N 4
#L Theta  Epoch  Seconds  Monitor
{rows}
#C Tue Feb 04 12:40:00 2020.  Done.
"""


def write_spec_folder(folder: Path, angles: np.ndarray = THETA_DEG) -> Path:
    """A folder with a TIFF for each frame, and the SPEC file beside it."""
    scan = folder / "AD34idcTIM2_Staff20-1a_S0054"
    scan.mkdir(parents=True)
    for number, frame in enumerate(counts()):
        tifffile.imwrite(scan / f"Staff20-1a_S0054_{number:05d}.tif", frame)
    (folder / "Staff20-1a.spec").write_text(spec_text(angles), "utf-8")
    return scan


def write_cohere(folder: Path, *, with_spec: bool = True, preprocessed: bool = True, **settings: object) -> None:
    """An experiment of cohere, whose arrays are (column, row, frame) until they are written, transposed."""
    (folder / "conf").mkdir(parents=True)
    (folder / "preprocessed_data").mkdir()
    spec = folder / "Staff20-1a.spec"
    if with_spec:
        spec.write_text(spec_text(), "utf-8")
    (folder / "conf/config").write_text(
        f'working_dir = "{folder.parent}"\nexperiment_id = "example"\nscan = "53-54"\nbeamline = "aps_34idc"\n', "utf-8"
    )
    told = {"diffractometer": "34idc", "specfile": str(spec), "detector": "34idcTIM2", **settings}
    (folder / "conf/config_instr").write_text("".join(f"{key} = {value!r}\n" for key, value in told.items()), "utf-8")
    if preprocessed:
        cohere_array = counts().transpose(2, 1, 0)
        tifffile.imwrite(folder / "preprocessed_data/prep_data.tif", cohere_array.transpose().astype(np.float32))


def write_p10(folder: Path, angles: np.ndarray = THETA_DEG, moved: str = "om") -> Path:
    """The master file of a scan at P10, with the text file of its motors one folder higher."""
    (folder / "e4m").mkdir(parents=True)
    master = folder / "e4m/crystal_00054_master.h5"
    with h5py.File(folder / "e4m/crystal_00054_data_000001.h5", "w") as data:
        data["entry/data/data"] = counts().astype(np.uint32)
    with h5py.File(master, "w") as file:
        file["entry/data/data_000001"] = h5py.ExternalLink("crystal_00054_data_000001.h5", "/entry/data/data")
        detector = file.create_group("entry/instrument/detector")
        for name, value in (("detector_distance", 1.8), ("y_pixel_size", 75e-6), ("x_pixel_size", 75e-6)):
            detector[name] = value
            detector[name].attrs["units"] = "m"
        detector["beam_center_y"], detector["beam_center_x"] = 1.0, 2.0
        detector["detectorSpecific/pixel_mask"] = np.eye(ROWS, COLUMNS, dtype=np.uint32)
    rows = "\n".join(f" {angle:.6f} {i} 0.5" for i, angle in enumerate(angles))
    (folder / "crystal_00054.fio").write_text(
        f"""!
! Comments
%c
ascan {moved} -0.5 0.5 {len(angles) - 1} 0.5
user p10user Acquisition started at Tue Jun 01 12:00:00 2021
!
! Parameter
%p
om = 13.2
phi = 5.5
gam = 0.5
del = 31.25
fmbenergy = 9000.0
_comment = none
!
! Data
%d
 Col 1 {moved} DOUBLE
 Col 2 e4m DOUBLE
 Col 3 counttime DOUBLE
{rows}
! Acquisition ended
""",
        "utf-8",
    )
    return master


def write_cdiutils(path: Path) -> None:
    """As the preprocessing of cdiutils keeps a rocking curve of ID01."""
    with h5py.File(path, "w") as file:
        file["cxi_version"], file["creator"] = 150, "cdiutils"
        file["entry_1/image_1/data"], file["entry_1/image_2/data"] = counts(), np.zeros((8, 8, 8))
        file["entry_1/cropped_detector_data"] = h5py.SoftLink("/entry_1/image_1")
        file["entry_1/orthogonalised_detector_data"] = h5py.SoftLink("/entry_1/image_2")
        mask = np.zeros((ROWS, COLUMNS), dtype=np.int64)
        mask[2, 3] = 1
        detector = file.create_group("entry_1/detector_1")
        detector["mask"], detector["description"] = mask, "mpx1x4"
        calibration = {"cch1": DIRECT_BEAM_PX[0], "cch2": DIRECT_BEAM_PX[1], "pwidth1": 55e-6, "pwidth2": 50e-6}
        for name, value in {**calibration, "distance": 0.5, "tilt": 0.0}.items():
            detector[f"calibration/{name}"] = value
        geometry = file.create_group("entry_1/geometry_1")
        geometry["sample_circles"], geometry["detector_circles"] = ["x-", "y-"], ["y-", "x-"]
        geometry["detector_axis0_orientation"], geometry["detector_axis1_orientation"] = "y-", "x+"
        geometry["name"], geometry["is_cxi"] = "ID01", True
        angles = {
            "sample_outofplane": THETA_DEG,
            "sample_inplane": 3.0,
            "detector_outofplane": 35.0,
            "detector_inplane": -1.5,
        }
        for name, value in angles.items():
            geometry[f"angles/{name}_angle"] = value
        file["entry_1/result_1/roi"], file["entry_1/result_2/q_lab_shift"] = np.array(ROI), np.zeros(3)
        file["entry_1/source_1/energy"], file["entry_1/source_1/units"] = 9000.0, "eV"


def write_pynx(path: Path, *, worked_on: bool = False) -> None:
    """As PyNX keeps the data of a crystal; `worked_on`: intensities with the free set and masked voxels marked in them."""
    frames, mask = counts().astype(np.float32), np.zeros((FRAMES, ROWS, COLUMNS), dtype=np.int8)
    mask[4, 2, 3] = 1
    if worked_on:
        frames[1, 5, 6], frames[2, 7, 8] = -frames[1, 5, 6] - 1, -1e20
    with h5py.File(path, "w") as file:
        file.attrs["creator"], file["cxi_version"] = "PyNX", 140
        file["entry_1/program_name"] = "PyNX 2024.1"
        detector = file.create_group("entry_1/instrument_1/detector_1")
        detector["data"], detector["mask"] = frames, mask
        detector["distance"], detector["x_pixel_size"], detector["y_pixel_size"] = 0.5, 50e-6, 55e-6
        file["entry_1/instrument_1/source_1/energy"] = 9000 * 1.602176634e-19
        file["entry_1/data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")


def write_autophasenn(path: Path) -> None:
    """A training example of AutoPhaseNN."""
    with path.open("wb") as file:
        np.savez(file, np.sqrt(counts().astype(np.float32)), np.ones((FRAMES, ROWS, COLUMNS), dtype=np.complex64))


STATED_ALL = {
    "energy_ev": 9000.0,
    "distance_m": 0.5,
    "detector_pixel_m": (55e-6, 50e-6),
    "diffractometer": "34-ID-C",
    "angles": (",".join(f"{name}={angle}" for name, angle in {"theta": 0.22, **STILL_DEG}.items()),),
    "rocked": "theta",
    "rocking_step_deg": 0.005,
}
"""What makes a rocking curve of mere frames."""
