"""What a recipe says of a rocking curve."""

import h5py
import numpy as np

from exitwave.io.assemble import RockingContents
from exitwave.io.hdf5.reading import mean_frame
from exitwave.io.recipes.places import places_of, raw_numbers, word_at
from exitwave.io.recipes.schema import Places, Recipe, Rocking


def rocking_contents(
    file: h5py.Group, recipe: Recipe, shape: tuple[int, int, int], beam_px: tuple[float, float] | None
) -> RockingContents | None:
    """Angles, circles and corrections where the recipe says they are; None for recipes of scans."""
    rocking = recipe.rocking
    if rocking is None:
        return None
    return RockingContents(
        angles={name: found for name, where in rocking.angles.items() if (found := _angles(file, where)) is not None},
        angle_unit=rocking.unit,
        diffractometer=rocking.diffractometer,
        frames=None if rocking.frames is None else _angles(file, rocking.frames),
        rocked=_rocked(file, rocking),
        direct_beam_px=None if beam_px is None else (beam_px[0] - shape[1] // 2, beam_px[1] - shape[2] // 2),
        whitefield=mean_frame(file, *places_of(rocking.whitefield)) if rocking.whitefield else None,
        darkfield=mean_frame(file, *places_of(rocking.darkfield)) if rocking.darkfield else None,
    )


def _angles(file: h5py.Group, where: Places | float) -> np.ndarray | None:
    if isinstance(where, int | float):
        return np.array([float(where)])
    raw = raw_numbers(file, where)
    return None if raw is None else raw[0].ravel()


def _rocked(file: h5py.Group, rocking: Rocking) -> str | None:
    """Name of the rocked circle, by the end of what the file says of it."""
    said = None if rocking.rocked_at is None else word_at(file, rocking.rocked_at)
    if said is None:
        return rocking.rocked
    return next((name for name in rocking.angles if said.strip().lower().endswith(name.lower())), None)
