"""Files of rocking curves as facilities lay them out, one for each shipped recipe, and what must be read from them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rocking_curves import FRAMES, STILL_DEG, counts

GEOMETRY = {"distance_m": 0.5, "detector_pixel_m": "55e-6x50e-6"}
BEAM_PX = (30.5, -2000.0)
"""Row and column of the direct beam as files count them, far from the frames, as where the detector does not turn."""


def aps_34idc(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["intensity"], file["theta_deg"] = counts(), angles
    file["monitor"] = np.linspace(1.0, 1.1, FRAMES)
    file.attrs.update({f"{name}_deg": value for name, value in STILL_DEG.items()})
    file.attrs.update({"energy_keV": 9.0, "detector_distance_m": 0.5, "pixel_size_m": 55e-6})
    return {"rocked": "theta", "angles": {"theta": None, **STILL_DEG}, "stated": {}}


def esrf_id01(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    # Scans are links to files of their own; the first is one that moves another motor, without the detector.
    file["sample_1.1/instrument/positioners/eta"] = 10.0
    with h5py.File(Path(file.filename).with_name("scan0002.h5"), "w") as scan:
        scan["1.1/measurement/mpx1x4"] = counts()
        motors = {"eta": angles, "phi": 3.0, "delta": 35.0, "nu": -1.5, "mononrj": 9.0}
        for name, value in motors.items():
            scan[f"1.1/instrument/positioners/{name}"] = value
        detector = scan.create_group("1.1/instrument/mpx1x4")
        detector["distance"], detector["y_pixel_size"], detector["x_pixel_size"] = 0.5, 55e-6, 50e-6
        detector["beam_center_y"], detector["beam_center_x"] = BEAM_PX
    file["sample_2.1"] = h5py.ExternalLink("scan0002.h5", "/1.1")
    return {"rocked": "eta", "angles": {"eta": None, "phi": 3.0, "delta": 35.0, "nu": -1.5}, "beam": True, "stated": {}}


def esrf_id27(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["sample_1.1/measurement/eiger"] = counts()
    file["sample_1.1/instrument/positioners/nath"] = angles
    file["sample_1.1/instrument/calibration/wavelength"] = 1.3776
    stated = {**GEOMETRY, "direct_beam": f"{BEAM_PX[0]}x{BEAM_PX[1]}"}
    return {"rocked": "nath", "angles": {"nath": None}, "beam": True, "stated": stated}


def maxiv_nanomax_bragg(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["entry/measurement/eiger500k/frames"], file["entry/measurement/gonphi"] = counts(), angles
    still = {"gontheta": 7.0, "gonphi": 1.0, "gamma": 20.0, "delta": 11.0}
    for name, value in {**still, "energy": 9000.0}.items():
        file[f"entry/snapshots/post_scan/{name}"] = [value]
    return {"rocked": "gonphi", "angles": {**still, "gonphi": None}, "stated": GEOMETRY}


def soleil_sixs(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["com/scan_data/actuator_1_1"], file["com/scan_data/data_12"] = angles, counts()
    still = {"mu": 0.3, "omega": 5.0, "delta": 30.0, "gamma": 2.0}
    for name, value in still.items():
        file[f"com/SIXS/i14-c-cx1-ex-med-v-dif-group.1/i14-{name}.1/position"] = value
    file["com/SIXS/i14-c-c02-op-mono/energy"] = [9.0]
    return {"rocked": "mu", "angles": {**still, "mu": None}, "stated": GEOMETRY}


def soleil_cristal(file: h5py.File, angles: np.ndarray) -> dict[str, Any]:
    file["exp_0054/scan_data/actuator_1_1"], file["exp_0054/scan_data/data_04"] = angles, counts()
    file["exp_0054/scan_config/name"] = "ascan_i06-c-c07-ex-mg_omega"
    still = {"omega": 15.0, "phi": 4.0}
    for name, value in still.items():
        file[f"exp_0054/CRISTAL/i06-c-c07-ex-mg_{name}/position"] = value
    for name, value in {"delta": 30.0, "gamma": 2.0}.items():
        file[f"exp_0054/CRISTAL/Diffractometer/i06-c-c07-ex-dif-{name}/position"] = value
    file["exp_0054/CRISTAL/Monochromator/energy"] = [9.0]
    return {"rocked": "omega", "angles": {**still, "omega": None, "delta": 30.0, "gamma": 2.0}, "stated": GEOMETRY}


LAYOUTS: dict[str, Callable[[h5py.File, np.ndarray], dict[str, Any]]] = {
    layout.__name__: layout
    for layout in (aps_34idc, esrf_id01, esrf_id27, maxiv_nanomax_bragg, soleil_cristal, soleil_sixs)
}
