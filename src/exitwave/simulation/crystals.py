"""Made nanocrystals as 3D Bragg CDI sees them: density in the modulus, displacement of the lattice in the phase.

Faceted fcc crystals in random orientation, thousands a minute; for training, and for rocking curves with a known truth.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Complex, Float
from scipy.spatial.distance import pdist
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.simulation.crystal_settings import TRAINING, CrystalSettings
from exitwave.simulation.crystal_shapes import Polytope, drawn_polytope, fcc_normals
from exitwave.simulation.crystal_strain import Dislocation, SmoothField, Strain

Array = np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Crystal:
    """One drawn crystal in the laboratory: shape and strain before they are put on voxels."""

    shape: Polytope
    along_q: Float[Array, "3"]
    """Unit vector along the scattering vector."""
    strain: Strain
    pores: SmoothField
    density_drop: float
    settings: CrystalSettings
    unit: float = 1.0
    """Length of 1 in `shape`, a crystal about as large as the unit sphere: metres, or whatever `sampled` counts in."""

    @property
    def size(self) -> float:
        """Largest distance of two corners."""
        return self.unit * float(pdist(self.shape.vertices).max())

    def of_size(self, size: float) -> "Crystal":
        """The same crystal, larger or smaller."""
        return replace(self, unit=self.unit * size / self.size)

    def extent(self, ways: Float[Array, "way 3"]) -> Float[Array, " way"]:
        """How far it reaches along vectors: largest less smallest r . way."""
        return self.unit * np.ptp(self.shape.vertices @ ways.T, axis=0)

    def sampled(
        self, shape: tuple[int, int, int], basis: Float[Array, "3 3"], *, peak_centred: bool = False
    ) -> Complex[Tensor, "z y x"]:
        """The crystal on voxels whose steps along each axis of the array are the columns of `basis`; centre at n // 2.

        With `peak_centred` the brightest voxel of its pattern stands at n // 2, too, as preparation moves it there; of a strong
        strain or a dislocation it may lie beside it. Raises InputError where the crystal does not fit.
        """
        basis = np.asarray(basis, np.float64) / self.unit
        room = np.abs(self.shape.vertices @ np.linalg.inv(basis).T).max(axis=0) + self.settings.edge_px
        half = np.ceil(room).astype(int)
        if (half > (np.array(shape) - 1) // 2).any():
            raise InputError(
                f"a crystal that reaches {room.round(1).tolist()} voxels from its middle does not fit into {tuple(shape)} voxels; "
                "raise the oversampling or the number of voxels, or make it smaller"
            )
        ruler = [np.arange(-h, h + 1, dtype=np.float32) for h in half]
        index = np.stack(np.meshgrid(*ruler, indexing="ij")).reshape(3, -1)
        values = self._values(basis.astype(np.float32) @ index, basis).reshape([2 * h + 1 for h in half])
        if peak_centred:
            values = _peak_centred(values, shape)
        obj = np.zeros(shape, np.complex64)
        obj[tuple(slice(n // 2 - h, n // 2 + h + 1) for n, h in zip(shape, half, strict=True))] = values
        return torch.from_numpy(obj)

    def _values(self, places: Float[Array, "3 voxel"], basis: Float[Array, "3 3"]) -> Array:
        normals, settings = self.shape.normals, self.settings
        depths = self.shape.distances.astype(np.float32)[:, None] - normals.astype(np.float32) @ places
        # How wide a voxel is across each face.
        widths = settings.edge_px * np.linalg.norm(normals @ basis, axis=1)
        inside = (0.5 + depths / widths.astype(np.float32)[:, None]).min(axis=0).clip(0.0, 1.0)
        kept = inside > 0
        places, depths, density = places[:, kept], depths[:, kept], inside[kept]
        phase = self.strain.phase(places, depths)
        if self.density_drop:
            drop = self.pores.at(places)
            density = density * (1 - self.density_drop * (drop - drop.min()) / max(float(np.ptp(drop)), 1e-6))
        for dislocation in self.strain.dislocations:
            density = density * dislocation.core(places, 0.5 * float(widths.mean()))
        density /= density.max()
        density[density < settings.least_amplitude] = 0.0
        values = np.zeros(inside.shape, np.complex64)
        values[kept] = density * np.exp(1j * phase)
        return values


def drawn_crystal(
    settings: CrystalSettings, generator: np.random.Generator, scattering_vector: Float[Array, "3"] | None = None
) -> Crystal:
    """A random crystal; its reflection points along a scattering vector (z, y, x), along a random one where none is given."""
    q = generator.standard_normal(3) if scattering_vector is None else np.asarray(scattering_vector, np.float64)
    along_q = q / np.linalg.norm(q)
    turn = _turn(np.array(settings.reflection, np.float64), along_q, generator)
    facets = int(generator.integers(settings.facets[0], settings.facets[1] + 1))
    shape = drawn_polytope(facets, generator).mapped(turn)
    strain = Strain.drawn(shape.normals, along_q, (settings.bending, settings.smooth, settings.surface), generator)
    count = int(generator.integers(settings.dislocations[0], settings.dislocations[1] + 1))
    lines = tuple(_dislocation(settings.reflection, turn, generator) for _ in range(count))
    pores, drop = SmoothField.drawn(generator), settings.density_variation * generator.uniform()
    places = shape.inner_places()
    depths = shape.distances[:, None] - shape.normals @ places
    strain = replace(strain, dislocations=lines).scaled(places, depths, generator.uniform(*settings.phase_span_rad))
    return Crystal(
        shape=shape,
        along_q=along_q,
        strain=strain,
        pores=pores,
        density_drop=drop,
        settings=settings,
    )


def crystal(
    shape: tuple[int, int, int], *, seed: int = 0, number: int = 0, settings: CrystalSettings = TRAINING
) -> Complex[Tensor, "z y x"]:
    """One made crystal in the middle of empty voxels, its peak in the middle; the same for the same seed and number.

    The amplitude is at most 1, the phase -Q . u.
    """
    generator = np.random.default_rng([seed, number])
    drawn = drawn_crystal(settings, generator)
    extent = np.array(shape) / generator.uniform(*settings.oversampling, 3)
    return drawn.sampled(shape, np.diag(drawn.extent(np.eye(3)) / extent), peak_centred=True)


def crystals(
    shape: tuple[int, int, int],
    count: int,
    *,
    seed: int = 0,
    first: int = 0,
    settings: CrystalSettings = TRAINING,
) -> Complex[Tensor, "crystal z y x"]:
    """`crystal` of the numbers `first`, `first` + 1 ...: an endless stream, taken in batches of any size."""
    numbers = range(first, first + count)
    return torch.stack([crystal(shape, seed=seed, number=number, settings=settings) for number in numbers])


def _peak_centred(values: Complex[Array, "a b c"], shape: tuple[int, int, int]) -> Complex[Array, "a b c"]:
    """Voxels about the middle of an empty array, with the ramp that brings the brightest voxel of its pattern to the middle.

    It is looked for in the middle half of the pattern, of which few voxels are worth a whole transform.
    """
    near = [np.arange(-(n // 4), n // 4 + 1) for n in shape]
    places = [np.arange(size) - size // 2 for size in values.shape]
    waves = [
        np.exp(-2j * np.pi / n * q[:, None] * r).astype(np.complex64)
        for n, q, r in zip(shape, near, places, strict=True)
    ]
    pattern = values
    for wave in waves:
        pattern = np.tensordot(pattern, wave, axes=(0, 1))
    at = np.unravel_index(np.abs(pattern).argmax(), pattern.shape)
    first, second, third = (wave[index] for wave, index in zip(waves, at, strict=True))
    return values * first[:, None, None] * second[:, None] * third


def _turn(
    from_way: Float[Array, "3"], to_way: Float[Array, "3"], generator: np.random.Generator
) -> Float[Array, "3 3"]:
    """A rotation that takes one way to another and is random about it."""

    def frame(way: Float[Array, "3"], other: Float[Array, "3"]) -> Float[Array, "3 3"]:
        first = way / np.linalg.norm(way)
        second = other - first * (first @ other)
        second /= np.linalg.norm(second)
        return np.column_stack([first, second, np.cross(first, second)])

    return frame(to_way, generator.standard_normal(3)) @ frame(from_way, generator.standard_normal(3)).T


def _dislocation(
    reflection: tuple[int, int, int], turn: Float[Array, "3 3"], generator: np.random.Generator
) -> Dislocation:
    """Burgers vector 1/2 <110>, slip plane {111}; one that the reflection shows, Q . b != 0."""
    planes = fcc_normals()
    seen = [way for way in np.sign(np.round(planes[14:], 6)) if way @ reflection]
    burgers = seen[generator.integers(len(seen))]
    slipping = [plane for plane in planes[:8] if abs(plane @ burgers) < 1e-9]
    normal = turn @ slipping[generator.integers(len(slipping))]
    turns = round(float(burgers @ reflection) / 2)
    along = turn @ (burgers / np.linalg.norm(burgers))
    q = turn @ np.array(reflection, np.float64)
    edge = bool(generator.integers(2))
    axes = np.stack([along, normal] if edge else [normal, np.cross(along, normal)])
    tilt = float(q @ normal) / float(q @ along) if edge else 0.0
    return Dislocation(point=generator.uniform(-0.4, 0.4, 3), axes=axes, turns=turns, edge=edge, tilt=tilt)
