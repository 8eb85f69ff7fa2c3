"""Export of a result for other programs: CXI, ptychodus product, TIFF for ImageJ, pictures, ParaView."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial, singledispatch
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Float, UInt8

from exitwave.data.errors import InputError
from exitwave.data.estimate import BraggEstimate, Estimate
from exitwave.data.result import Result
from exitwave.io import crystal_export, npz_arrays
from exitwave.io.atomic import replacing
from exitwave.io.colour import complex_to_rgb, mean_ramp, without_ramp
from exitwave.io.imagej import write_imagej
from exitwave.io.readers import ptychodus
from exitwave.io.results import write_result

Export = Callable[[Path, Result], None]
WELL_LIT = 0.05
"""Share of the brightest illumination from which on a pixel decides over the contrast of pictures."""


def export(result: Result, path: str | Path, *, format: str | None = None) -> None:
    """Write a result for another program; each file appears whole or not at all.

    The ending of `path` tells the format unless it is named: `cxi` (.cxi, readable by exitwave too), `npz` (ptychodus
    product), `tiff` (amplitude and phase as float32 channels, for ImageJ), `png` (complex picture, phase as colour, and
    beside it `*_amplitude.png` and `*_phase.png`) or `ptychodus` (product as HDF5). A crystal goes to `cxi` and, in the
    laboratory frame, to `vti` and `vtp` (volume and surface for ParaView), `npz` and `tiff`. Raises InputError for others.
    """
    path = Path(path)
    name = format or ENDINGS.get(path.suffix.lower())
    exports = exports_of(result.estimate)
    if name is None or name not in exports:
        raise InputError(_refusal(path, name, exports, result))
    exports[name](path, result)


def _refusal(path: Path, name: str | None, exports: Mapping[str, Export], result: Result) -> str:
    endings = [ending for ending, each in ENDINGS.items() if each in exports]
    advice = f"name one of {', '.join(exports)}, or end the output path in {', '.join(endings)}"
    if name is None:
        return f"{path.name} does not say a format; {advice}"
    if name not in EXPORT_NAMES:
        return f"there is no export format {name!r}; {advice}"
    kind = result.estimate.title
    return f"{name} is not written of this kind of result ({kind[:1].lower()}{kind[1:]}); {advice}"


def _write_npz(path: Path, result: Result) -> None:
    npz_arrays.write(path, {name: np.asarray(value) for name, value in ptychodus.product_values(result).items()})


def _write_tiff(path: Path, result: Result) -> None:
    """Channels amplitude and phase (radians, as reconstructed), slices as z, the pixel size as ImageJ stores it."""
    obj = result.estimate.object.detach().cpu().numpy()
    obj = obj.reshape(-1, *obj.shape[-2:]) if obj.ndim > 1 else obj[None, None]
    stack = np.stack((np.abs(obj), np.angle(obj)), axis=1).astype(np.float32)
    write_imagej(path, stack, ("amplitude", "phase (rad)"), result.object_pixel_m[-2:])


def _write_png(path: Path, result: Result) -> None:
    # A second of start-up that only pictures need.
    from matplotlib.image import imsave

    amplitude, phase = (np.repeat(grey(result)[..., None], 3, axis=-1) for grey in (amplitude_picture, phase_picture))
    # All three or none.
    with ExitStack() as all_of_them:
        for suffix, pixels in (("", complex_picture(result)), ("_amplitude", amplitude), ("_phase", phase)):
            partly = all_of_them.enter_context(replacing(path.with_name(f"{path.stem}{suffix}{path.suffix}")))
            imsave(partly, np.ascontiguousarray(pixels), format="png")


def amplitude_picture(result: Result) -> UInt8[np.ndarray, "y x"]:
    """Amplitude in grey, from black to white over the range of well-lit pixels."""
    obj, lit = _projected(result)
    return _grey(np.abs(obj), lit)


def phase_picture(result: Result) -> UInt8[np.ndarray, "y x"]:
    """Phase in grey, the most negative black; mean phase and ramp, which no measurement knows, are taken off first."""
    obj, lit = _projected(result)
    return _grey(np.angle(obj), lit)


def complex_picture(result: Result) -> UInt8[np.ndarray, "y x 3"]:
    """Amplitude as brightness and phase as hue, mean phase red; dark where no light fell."""
    obj, lit = _projected(result)
    return complex_to_rgb(
        obj * (result.estimate.light().numpy() > 0), brightest=float(np.quantile(np.abs(obj)[lit], 0.99))
    )


def _projected(result: Result) -> tuple[Complex[np.ndarray, "y x"], np.ndarray]:
    """The object as one plane, all slices multiplied, without its mean phase and ramp; and where it is lit well."""
    light = result.estimate.light().numpy()
    lit = light > WELL_LIT * light.max()
    obj = result.estimate.plane().numpy()
    obj = without_ramp(obj, mean_ramp(np.where(lit, obj, 0)))
    mean = obj[lit].sum()
    return obj * np.conj(mean / abs(mean)) if abs(mean) > 0 else obj, lit


def _grey(values: Float[np.ndarray, "y x"], lit: np.ndarray) -> UInt8[np.ndarray, "y x"]:
    low, high = np.quantile(values[lit], (0.005, 0.995))
    return np.rint(255 * np.clip((values - low) / max(high - low, 1e-30), 0, 1)).astype(np.uint8)


EXPORTS: dict[str, Export] = {
    "cxi": write_result,
    "npz": _write_npz,
    "tiff": _write_tiff,
    "png": _write_png,
    "ptychodus": ptychodus.write_product,
}
"""Formats that results of most kinds can be exported in, by name."""
OF_CRYSTALS: dict[str, Export] = {
    "cxi": write_result,
    **{name: partial(crystal_export.write_crystal, name=name) for name in crystal_export.WRITERS},
}
"""Those of crystals."""
EXPORT_NAMES = tuple(dict.fromkeys((*EXPORTS, *OF_CRYSTALS)))
"""All of them."""
ENDINGS = {
    ".cxi": "cxi",
    ".npz": "npz",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".png": "png",
    ".vti": "vti",
    ".vtp": "vtp",
}


@singledispatch
def exports_of(estimate: Estimate) -> Mapping[str, Export]:
    """In what a result can be exported, by kind of estimate."""
    return EXPORTS


@exports_of.register
def _(estimate: BraggEstimate) -> Mapping[str, Export]:
    return OF_CRYSTALS
