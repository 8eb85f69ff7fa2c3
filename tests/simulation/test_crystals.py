"""Made crystals: shapes, sampling, strain, dislocations."""

import math

import numpy as np
import pytest
import torch

import exitwave as ew
from exitwave.simulation.crystal_settings import SHIFTED, TRAINING
from exitwave.simulation.crystal_shapes import drawn_polytope, fcc_normals
from exitwave.simulation.crystal_strain import POISSON_RATIO, Dislocation

SHAPE = (32, 32, 32)
GRID = np.eye(3) / 8
"""Steps of voxels at which the unit sphere is 16 voxels wide."""


def drawn(seed: int = 0, **told: object) -> ew.Crystal:
    usual = {"density_variation": 0.0, "least_amplitude": 0.0, "phase_span_rad": (1.0, 1.0)}
    return ew.drawn_crystal(ew.CrystalSettings(**(usual | told)), np.random.default_rng(seed))


def sampled(crystal: ew.Crystal, per_unit: float = 8.0, voxels: int = 64) -> np.ndarray:
    """On voxels of equal edges."""
    return crystal.sampled((voxels,) * 3, np.eye(3) / per_unit).numpy()


class TestShapes:
    @pytest.mark.parametrize("facets", [4, 7, 12, 20])
    def test_planes_of_an_fcc_lattice_close_around_the_origin(self, facets: int) -> None:
        known = fcc_normals()
        for seed in range(5):
            shape = drawn_polytope(facets, np.random.default_rng(seed))
            assert len(shape.normals) == facets
            assert all(np.isclose(known @ normal, 1).any() for normal in shape.normals)
            assert (shape.distances > 0).all()
            # Bounded: every direction ends at some plane.
            assert np.isfinite(shape.vertices).all()
            assert (shape.vertices @ shape.normals.T <= shape.distances + 1e-9).all()

    def test_nearly_every_plane_keeps_a_facet(self) -> None:
        kept = 0
        for seed in range(20):
            shape = drawn_polytope(14, np.random.default_rng(seed))
            gaps = shape.distances - shape.vertices @ shape.normals.T
            kept += int(((gaps < 1e-9).sum(axis=0) >= 3).sum())
        assert kept > 0.9 * 20 * 14

    def test_the_centre_of_mass_is_the_origin(self) -> None:
        density = np.abs(sampled(drawn(2), 14.0))
        index = np.indices(density.shape).reshape(3, -1) - 32
        assert np.abs(index @ density.ravel() / density.sum()).max() < 0.3

    def test_a_mapped_body_holds_the_mapped_points(self) -> None:
        random = np.random.default_rng(4)
        shape, matrix = drawn_polytope(9, random), random.standard_normal((3, 3))
        points = random.uniform(-1.5, 1.5, (500, 3))
        mapped = shape.mapped(matrix)
        before = (points @ shape.normals.T <= shape.distances).all(axis=1)
        after = (points @ matrix.T @ mapped.normals.T <= mapped.distances).all(axis=1)
        np.testing.assert_array_equal(before, after)


class TestSampling:
    def test_one_seed_is_one_crystal_whatever_the_batch(self) -> None:
        batch = ew.crystals(SHAPE, 3, seed=5, first=2)
        assert batch.dtype == torch.complex64
        assert torch.equal(batch[1], ew.crystal(SHAPE, seed=5, number=3))
        assert not torch.equal(batch[0], batch[1])
        assert not torch.equal(batch[1], ew.crystal(SHAPE, seed=6, number=3))

    @pytest.mark.parametrize("oversampling", [2.5, 3.0, 4.0])
    def test_the_crystal_fills_its_share_of_each_axis(self, oversampling: float) -> None:
        settings = ew.CrystalSettings(oversampling=(oversampling, oversampling))
        for obj in ew.crystals((48, 40, 32), 4, seed=3, settings=settings):
            inside = obj.abs() > 0
            widths = [int(inside.any(a).any(b).sum()) for a, b in ((2, 1), (2, 0), (1, 0))]
            # A soft edge on either side; a sharp corner may fall between voxels.
            np.testing.assert_allclose(widths, np.array([48, 40, 32]) / oversampling, atol=2.5)

    def test_training_crystals_are_as_published(self) -> None:
        made = ew.crystals(SHAPE, 20, seed=1, settings=TRAINING)
        amplitude = made.abs()
        assert amplitude.amax(dim=(1, 2, 3)).numpy() == pytest.approx(1.0)
        assert not bool(((amplitude > 0) & (amplitude < 0.1)).any())
        middle = amplitude[:, 8:24, 8:24, 8:24]
        assert float(middle.sum()) == pytest.approx(float(amplitude.sum()))

    def test_the_peak_stands_in_the_middle_however_strained(self) -> None:
        made = ew.crystals(SHAPE, 6, seed=2, settings=SHIFTED)
        for obj in made:
            pattern = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(obj)).abs())
            assert float(pattern[16, 16, 16]) == pytest.approx(float(pattern.max()), rel=1e-4)

    def test_the_volume_does_not_depend_on_the_voxels(self) -> None:
        crystal = drawn(3, edge_px=1.0)
        oblique = np.array([[1.0, 0.3, 0.0], [0.0, 0.9, 0.4], [0.2, 0.0, 1.1]]) / 12
        volumes = [
            float(crystal.sampled((64,) * 3, basis).abs().sum()) * abs(np.linalg.det(basis))
            for basis in (np.eye(3) / 10, oblique)
        ]
        assert volumes[0] == pytest.approx(volumes[1], rel=0.03)

    def test_a_crystal_has_the_size_it_is_given(self) -> None:
        crystal = drawn(3).of_size(300e-9)
        inside = np.argwhere(np.abs(crystal.sampled((64,) * 3, np.eye(3) * 6e-9).numpy()) > 0.4) * 6e-9
        widest = max(np.linalg.norm(inside - point, axis=1).max() for point in inside[::7])
        assert widest == pytest.approx(300e-9, rel=0.08)

    def test_what_does_not_fit_is_refused(self) -> None:
        with pytest.raises(ew.InputError, match="does not fit"):
            drawn().sampled((8, 8, 8), GRID)


class TestStrain:
    @pytest.mark.parametrize("only", ["bending", "smooth", "surface"])
    def test_the_phase_spans_what_is_asked_for_and_has_no_slope(self, only: str) -> None:
        shares = {name: float(name == only) for name in ("bending", "smooth", "surface")}
        spans = []
        for seed in range(8):
            obj = sampled(drawn(seed, edge_px=0.1, **shares), 10.0)
            inside = np.abs(obj) > 0.5
            phase = np.angle(obj)[inside]
            design = np.vstack([np.ones(len(phase)), np.argwhere(inside).T - 32.0])
            plane = np.linalg.lstsq(design.T, phase, rcond=None)[0] @ design
            assert np.ptp(plane) < 0.15
            spans.append(np.ptp(phase))
        # Corners and edges that no voxel meets may hold the extremes.
        assert np.median(spans) == pytest.approx(1.0, abs=0.1)
        assert 0.7 < min(spans) < max(spans) < 1.5

    def test_the_phase_is_the_same_at_the_same_place_on_any_voxels(self) -> None:
        crystal = drawn(2, dislocations=(1, 1))
        fine = sampled(crystal, 14.0)[::2, ::2, ::2]
        coarse = sampled(crystal, 7.0, 32)
        inside = (np.abs(fine) > 0.9) & (np.abs(coarse) > 0.9)
        assert inside.sum() > 200
        assert np.abs(np.angle(fine * coarse.conj()))[inside].max() < 1e-4

    def test_without_strain_there_is_no_phase(self) -> None:
        assert np.abs(np.angle(sampled(drawn(1, phase_span_rad=(0.0, 0.0))))).max() < 1e-6

    def test_relaxed_surfaces_leave_the_middle_flat(self) -> None:
        crystal = drawn(2, bending=0.0, smooth=0.0, facets=(14, 14))
        obj = sampled(crystal, 14.0)
        steps = np.abs(np.diff(np.angle(obj), axis=0))
        index = np.moveaxis(np.indices(obj.shape), 0, -1)[:-1] - 32.0
        depth = (crystal.shape.distances - index / 14 @ crystal.shape.normals.T).min(axis=-1)
        assert steps[depth > 0.35].mean() < 0.7 * steps[(depth > 0.05) & (depth < 0.2)].mean()

    def test_the_same_seed_without_dislocations_has_the_same_shape(self) -> None:
        plain, broken = drawn(4), drawn(4, dislocations=(1, 1))
        np.testing.assert_array_equal(plain.shape.distances, broken.shape.distances)
        assert len(broken.strain.dislocations) == 1


def circuit(line: Dislocation, radius: float = 0.2, count: int = 400) -> float:
    """The phase gathered once around the line, from differences, in turns."""
    angles = np.linspace(0, 2 * math.pi, count + 1)
    places = line.point[:, None] + radius * (line.axes.T @ np.stack([np.cos(angles), np.sin(angles)]))
    return float(np.angle(np.exp(1j * np.diff(line.phase(places)))).sum()) / (2 * math.pi)


class TestDislocations:
    def test_the_phase_winds_by_whole_turns(self) -> None:
        kinds = set()
        for seed in range(12):
            (line,) = drawn(seed, dislocations=(1, 1)).strain.dislocations
            kinds.add(line.edge)
            assert abs(line.turns) == 1
            # Phase is -Q . u, and u gains the Burgers vector.
            assert circuit(line) == pytest.approx(-line.turns, abs=1e-6)
        assert kinds == {True, False}

    def test_a_higher_order_winds_twice(self) -> None:
        (line,) = drawn(0, dislocations=(1, 1), reflection=(2, 2, 2)).strain.dislocations
        assert abs(line.turns) == 2

    def test_an_edge_is_at_rest(self) -> None:
        """Navier's equation: (1 - 2 nu) lap u + grad div u = 0."""

        def displacement(x: np.ndarray, y: np.ndarray) -> np.ndarray:
            places = np.stack([x, y, np.zeros_like(x)]).reshape(3, -1)
            along, both = (
                Dislocation(point=np.zeros(3), axes=np.eye(3)[:2], turns=1, edge=True, tilt=tilt).phase(places)
                for tilt in (0.0, 1.0)
            )
            return np.stack([along, both - along]).reshape(2, *x.shape)

        step = 1e-3
        x, y = np.meshgrid(0.4 + step * np.arange(-3, 4), 0.3 + step * np.arange(-3, 4), indexing="ij")
        u = displacement(x, y)
        by_x, by_y = np.gradient(u, step, axis=1), np.gradient(u, step, axis=2)
        laplacian = np.gradient(by_x, step, axis=1) + np.gradient(by_y, step, axis=2)
        divergence = by_x[0] + by_y[1]
        rest = (1 - 2 * POISSON_RATIO) * laplacian + np.stack(np.gradient(divergence, step))
        assert np.abs(rest[:, 3, 3]).max() < 1e-2 * np.abs(laplacian[:, 3, 3]).max()

    def test_the_core_is_dark(self) -> None:
        crystal = drawn(4, dislocations=(1, 1))
        (line,) = crystal.strain.dislocations
        core = line.core(line.point[:, None] + np.array([[0.0, 1.0], [0.0, 0.0], [0.0, 0.0]]), 0.05)
        assert core[0] == pytest.approx(0, abs=1e-9)
        assert core[1] > 0.9


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"facets": (3, 9)}, "facets is 3 to 9"),
        ({"oversampling": (3.0, 2.0)}, "smaller one first"),
        ({"reflection": (1, 1, 0)}, "all odd or all even"),
        ({"density_variation": 2.0}, "density_variation is 2"),
        ({"phase_span_rad": (0.0, math.nan)}, "phase_span_rad"),
    ],
)
def test_settings_that_cannot_be_are_refused(told: dict[str, object], said: str) -> None:
    with pytest.raises(ew.InputError, match=said):
        ew.CrystalSettings(**told)
