"""Make every picture of README.md and docs/: simulate and reconstruct small scans, write docs/images/*.png.

python docs/scripts/pictures.py              all pictures, about two minutes
python docs/scripts/pictures.py overview     only some
"""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

import exitwave as ew
from exitwave.io.colour import complex_to_rgb
from exitwave.physics.crystal.profiles import profile
from exitwave.reports.axes import INK_ON_WHITE
from exitwave.reports.crystal import draw_profile
from exitwave.reports.crystal_surface import Coloured, draw_surface
from exitwave.reports.panels import draw_amplitude, draw_map
from exitwave.reports.svg import drawing
from exitwave.reports.views import object_views
from exitwave.running.train import training_data
from exitwave.simulation.objects import OBJECTS
from exitwave.simulation.probes import PROBES
from exitwave.simulation.trajectories import TRAJECTORIES
from exitwave.solvers.neural.prediction import predicted

IMAGES = Path(__file__).parents[1] / "images"
MOST_BYTES = 300_000
RESULTS = {
    name: Path(__file__).parents[2] / "benchmarks" / "results" / f"{name}.json"
    for name in ("iterative_growth", "iterative_peers")
}


def overview(path: Path) -> None:
    """The demonstration sample: object and probe from the data alone."""
    made = ew.simulate("textured", frames=289, frame_px=96)
    result = ew.reconstruct(made.scan, ew.MPIE(epochs=60))
    result.plot().savefig(path, dpi=110)


def near_field(path: Path) -> None:
    """A magnified near-field scan of a Siemens star."""
    geometry = {"energy_ev": 12_650.0, "distance_m": 1.12, "detector_pixel_m": 55e-6, "focus_distance_m": 3.65e-3}
    made = ew.simulate("siemens", frames=144, frame_px=64, overlap=0.7, **geometry)
    ew.reconstruct(made.scan, ew.MPIE(epochs=100)).plot().savefig(path, dpi=90)


def bragg(path: Path) -> None:
    """A made crystal found from its rocking curve: its surface coloured by displacement and strain, and a cut through it."""
    experiment = ew.RockingExperiment(phase_span_rad=3.0, size_m=300e-9, facets=12, peak_photons=1e6)
    made = ew.simulate_crystal(experiment, frame_px=64, seed=4)
    result = ew.reconstruct(made.scan, ew.CDI(starts=3, cycles=2))
    crystal = ew.crystal_in_laboratory(result.estimate)
    surface = ew.crystal_surface(crystal)
    _, view = object_views(result)[0]
    with drawing(INK_ON_WHITE):
        figure = Figure(figsize=(8.6, 5.0), facecolor="white")
        corners = [(0.02 + 0.33 * column, 0.52 - 0.5 * row) for row in range(2) for column in range(3)]
        axes = [
            figure.add_axes((left + (0.07 if n == 2 else 0), low, 0.23, 0.42)) for n, (left, low) in enumerate(corners)
        ]
        on_surface = (
            Coloured(name="displacement", values=surface.displacement_m / 1e-12, unit="pm"),
            Coloured(name="strain", values=surface.strain / 1e-4, unit="10⁻⁴"),
        )
        for place, colour in enumerate(on_surface):
            draw_surface(axes[place], surface, colour)
            axes[place].set_title(f"surface: {colour.name}")
        draw_profile(axes[2], profile(crystal, 2), "x")
        axes[2].set_title("amplitude along x")
        draw_amplitude(axes[3], view)
        axes[3].set_title("cut across the beam: amplitude")
        for place, name in ((4, "displacement"), (5, "strain")):
            draw_map(axes[place], view, name)
            axes[place].set_title(name)
        figure.savefig(path, dpi=90)


def stem(path: Path) -> None:
    """Two crystals on top of each other by 4D-STEM, 1e4 electrons a frame: both slices and the probe, found and true."""
    made = ew.simulate_stem("lattices", detection=ew.Detection(photons_per_frame=1e4))
    microscope = ew.Microscope()
    known = replace(made.scan, geometry=replace(made.scan.geometry, optics=microscope.optics))
    setup = ew.Setup(slices=2, slice_spacing_m=microscope.slice_spacing_nm * 1e-9)
    found = ew.reconstruct(known, ew.RPIE(epochs=40), setup=setup).estimate
    assert isinstance(found, ew.PtychoEstimate)
    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    for row, title, x in zip(figure.subplots(2, 3), ("found", "true"), (found, made.truth), strict=True):
        for axes, name, phase in zip(row, ("upper", "lower"), x.object.angle(), strict=False):
            inner = phase[36:-36, 36:-36]
            axes.imshow(inner - inner.median(), cmap="gray", vmin=-0.1, vmax=0.3)
            axes.set_title(f"{name} slice, {title}", fontsize=9)
        row[2].imshow(complex_to_rgb(x.probe[0].numpy()))
        row[2].set_title(f"probe, {title}", fontsize=9)
        for axes in row:
            axes.axis("off")
    figure.savefig(path, dpi=110)


def wrong_axes(path: Path) -> None:
    """The same scan read right, with x and y exchanged, and with both signs reversed."""
    made = ew.simulate("natural", frames=144, frame_px=64, overlap=0.7)
    readings = {"as it should be": (1, 1, False), "x and y exchanged": (1, 1, True), "one sign wrong": (-1, 1, False)}
    readings["both signs wrong (far field)"] = (-1, -1, False)
    figure = Figure(figsize=(9, 2.7), layout="constrained")
    for axes, (title, (y, x, swapped)) in zip(figure.subplots(1, 4), readings.items(), strict=True):
        positions = made.scan.positions_m * torch.tensor([y, x])
        positions = positions.flip(1) if swapped else positions
        scan = ew.Scan(patterns=made.scan.patterns, positions_m=positions, geometry=made.scan.geometry)
        result = ew.reconstruct(scan, ew.RPIE(epochs=40))
        inner = result.estimate.object[0, 32:-32, 32:-32].abs()
        axes.imshow(inner, cmap="gray", vmin=float(inner.quantile(0.01)), vmax=float(inner.quantile(0.99)))
        axes.set_title(f"{title}\nresidual {result.residual:.4f}", fontsize=9)
        axes.axis("off")
    figure.savefig(path, dpi=110)


def samples(path: Path) -> None:
    """Every sample, 160 pixels wide: hue is the phase, brightness the amplitude."""
    _gallery(path, {name: complex_to_rgb(draw((160, 160), seed=0).numpy()) for name, draw in OBJECTS.items()}, 4)


def probes(path: Path) -> None:
    """Every probe in a frame of 128 pixels: hue is the phase, brightness the amplitude."""
    drawn = {
        name: complex_to_rgb(make((128, 128), diameter_px=30 if name in ("airy", "kb") else 60).numpy())
        for name, make in PROBES.items()
    }
    _gallery(path, drawn, 6)


def trajectories(path: Path) -> None:
    """Every trajectory: 100 positions a step apart, in the order of travel."""
    figure = Figure(figsize=(8, 2.2), layout="constrained")
    for axes, (name, travel) in zip(figure.subplots(1, len(TRAJECTORIES)), TRAJECTORIES.items(), strict=True):
        y, x = travel(100, 1.0, seed=0).numpy().T
        axes.plot(x, y, color="#858b94", linewidth=0.5)
        axes.scatter(x, y, c=np.arange(len(x)), cmap="viridis", s=9, zorder=2)
        axes.set(aspect="equal", title=name)
        axes.invert_yaxis()
        axes.axis("off")
    figure.savefig(path, dpi=110)


class Start(torch.nn.Module):
    """What a network starts from, as if it were its answer."""

    def forward(self, batches: list[ew.GroupBatch]) -> list[ew.Prediction]:
        """The start itself."""
        return [ew.Prediction(batch.start) for batch in batches]


def crystals(path: Path) -> None:
    """Made crystals, cut through the middle, and the logarithm of their patterns; the last three have a dislocation each."""
    whole = ew.crystals((64, 64, 64), 5, seed=5)
    broken = ew.crystals((64, 64, 64), 3, seed=5, settings=ew.CrystalSettings(dislocations=(1, 1), facets=(12, 20)))
    figure = Figure(figsize=(11, 2.9), layout="constrained")
    for (upper, lower), obj in zip(figure.subplots(2, 8).T, torch.cat([whole, broken]), strict=True):
        pattern = torch.fft.fftshift(torch.fft.fftn(torch.fft.ifftshift(obj)).abs().square())[32]
        upper.imshow(complex_to_rgb(obj[32, 16:48, 16:48].numpy()))
        lower.imshow((pattern / pattern.max() + 1e-7).log10(), cmap="inferno")
        upper.axis("off")
        lower.axis("off")
    figure.savefig(path, dpi=100)


def networks(path: Path) -> None:
    """Blood cells by the network that comes with the package, which never saw any; 64 px frames, seed 3, 1e6 photons."""
    made = ew.simulate("cells", frames=225, frame_px=64, overlap=0.75, seed=3)
    probe = made.truth.probe
    network = ew.from_spec("general")
    assert isinstance(network, ew.PtychoPINN)
    seen = ew.reconstruct(made.scan, network, probe=probe)
    refined = ew.reconstruct(made.scan, ew.chain(network, ew.RPIE(epochs=20)), probe=probe)
    (lesson,) = training_data(network, [ew.TrainingExample(scan=made.scan, probe=probe)])
    begun = network.has_warm_start
    start, _ = predicted(Start(), lesson.problem, lesson.x, grouping=network.groups, together=128, begun=begun)
    merged = replace(seen, estimate=replace(lesson.x, object=start))
    name = (
        f"newton, {network.warm_start.total_epochs} epochs"
        if begun and network.warm_start
        else "merged back-projection"
    )
    shown = {name: merged, "network": seen, "network, 20 epochs of rpie": refined}
    columns = [(name, _laid_on(one, made.truth), _error(one, made.truth)) for name, one in shown.items()]
    columns.append(("truth", made.truth.object[0], ""))
    figure = Figure(figsize=(9.5, 4.6), layout="constrained")
    for axes, (title, image, error) in zip(figure.subplots(2, 4).T, columns, strict=True):
        inner = image[32:-32, 32:-32]
        axes[0].imshow(inner.abs(), cmap="gray", vmin=0.4, vmax=1.1)
        axes[1].imshow(inner.angle(), cmap="twilight", vmin=-np.pi, vmax=np.pi)
        axes[0].set_title(f"{title}\n{error}", fontsize=9)
        for each in axes:
            each.axis("off")
    figure.savefig(path, dpi=110)


def _error(result: ew.Result, truth: ew.PtychoEstimate) -> str:
    return f"error {ew.evaluate(result, truth=truth).metrics['M-NRMSE']:.3f}"


def _laid_on(result: ew.Result, truth: ew.PtychoEstimate) -> torch.Tensor:
    """The object in the place, scale and phase of the truth."""
    away = (truth.positions_px - result.estimate.positions_px).mean(dim=0).round().long().tolist()
    image = result.estimate.object[0].roll(away, (0, 1))[: truth.object.shape[1], : truth.object.shape[2]]
    image = torch.nn.functional.pad(
        image, (0, truth.object.shape[2] - image.shape[1], 0, truth.object.shape[1] - image.shape[0]), value=1.0
    )
    inner = (slice(48, -48), slice(48, -48))
    ours, theirs = image[inner], truth.object[0][inner]
    return image * torch.vdot(ours.flatten(), theirs.flatten()) / ours.abs().square().sum()


def iterative_growth(path: Path) -> None:
    """Time of an epoch and memory against the number of frames, as measured by the study `growth`."""
    rows = json.loads(RESULTS["iterative_growth"].read_text())["rows"]
    figure = Figure(figsize=(8, 3), layout="constrained")
    shown = {"epoch_s": "seconds of an epoch", "beyond_start_mib": "memory for the scan, MiB"}
    for axes, (key, label) in zip(figure.subplots(1, 2), shown.items(), strict=True):
        for name in dict.fromkeys(row["solver"] for row in rows):
            own = [row for row in rows if row["solver"] == name and isinstance(row["frames"], int)]
            power = next(row[key] for row in rows if row["solver"] == name and row["frames"] == "exponent")
            told = f"{name}, power {power:.2f}" if power is not None else name
            axes.loglog([row["frames"] for row in own], [row[key] for row in own], "o-", markersize=4, label=told)
        axes.set(xlabel="frames of 64 x 64 pixels", ylabel=label)
        axes.legend(fontsize=7)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def iterative_peers(path: Path) -> None:
    """Error against time for every program, first drawing of each problem, by the study `peers`."""
    rows = json.loads(RESULTS["iterative_peers"].read_text())["rows"]
    names = list(dict.fromkeys(row["problem"] for row in rows))
    colours = {program: f"C{n}" for n, program in enumerate(dict.fromkeys(row["program"] for row in rows))}
    figure = Figure(figsize=(4.5 * len(names) + 1.6, 3.6), layout="constrained")
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        own = [row for row in rows if row["problem"] == name]
        for row in (row for row in own if row["seed"] == own[0]["seed"]):
            course, program = row["course"], row["program"]
            style = "-" if program.startswith("exitwave") else "--"
            axes.loglog(course["seconds"], course["nrmse"], style, color=colours[program], label=program)
        axes.axhline(0.1, color="#858b94", linewidth=0.5)
        axes.axhline(0.05, color="#858b94", linewidth=0.5)
        axes.set(title=name, xlabel="seconds", ylabel="NRMSE")
    # Not every program is run on every problem.
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_legend_handles_labels()[0]}
    figure.legend(lines.values(), lines.keys(), loc="outside right upper", fontsize=7)
    figure.savefig(path, dpi=110)


def _gallery(path: Path, images: dict[str, np.ndarray], columns: int) -> None:
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.6 * columns, 1.8 * rows), layout="constrained")
    for axes, (name, image) in zip(figure.subplots(rows, columns).flat, images.items(), strict=True):
        axes.imshow(image)
        axes.set_title(name, fontsize=9)
        axes.axis("off")
    figure.savefig(path, dpi=110)


STUDIES: dict[str, Callable[[Path], None]] = {
    "iterative_growth": iterative_growth,
    "iterative_peers": iterative_peers,
}
"""Pictures of what was measured; they are made where the results are there."""


def bragg_geometry(path: Path) -> None:
    """Beams, Q and the rocked circle in the laboratory, and one crystal on the array of its rocking curve and in the laboratory."""
    curve = rocking_curve()
    places = np.stack(np.meshgrid(*(np.arange(48) - 24,) * 3, indexing="ij"), axis=-1) @ curve.direct_basis_m.T
    q = curve.scattering_vector / np.linalg.norm(curve.scattering_vector)
    # A box with a corner cut off, its planes bent about an axis across Q.
    along = np.abs(places) / np.array([90e-9, 60e-9, 110e-9])
    box = 1 / (1 + np.exp(25 * (along.max(axis=-1) - 1)))
    box *= 1 / (1 + np.exp((places.sum(axis=-1) - 150e-9) / 5e-9))
    u = 1.2e4 * (places @ q) * (places @ np.cross(q, [0.0, 1.0, 0.0]))
    obj = box * np.exp(-1j * np.linalg.norm(curve.scattering_vector) * u)
    estimate = ew.BraggEstimate(
        object=torch.from_numpy(obj.astype(np.complex64)),
        support=torch.from_numpy(box > 0.05),
        beam_photons=torch.tensor(1e6, dtype=torch.float64),
        basis_m=torch.from_numpy(curve.direct_basis_m),
        scattering_vector=torch.from_numpy(curve.scattering_vector),
    )
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1.5))
    _draw_beams(left.add_axes((-0.05, -0.05, 1.05, 1.1), projection="3d"), curve)
    crystal, middle = ew.crystal_in_laboratory(estimate), 24
    array = right.add_subplot(2, 2, 1)
    array.imshow(np.abs(obj[:, middle]), cmap="gray", origin="lower")
    array.set(xlabel="column", ylabel="frame", title="amplitude, array")
    z, x = crystal.axis_m(0) * 1e9, crystal.axis_m(2) * 1e9
    cut = (slice(None), crystal.middle[1])
    shown = (
        (2, crystal.amplitude[cut], "gray", (0, 1), "amplitude, laboratory"),
        (3, crystal.displacement_m[cut] * 1e12, "RdBu_r", (-60, 60), "displacement along Q, pm"),
        (4, crystal.strain[cut] * 100, "RdBu_r", (-0.15, 0.15), "strain along Q, %"),
    )
    for place, values, colours, (low, high), title in shown:
        axes = right.add_subplot(2, 2, place)
        drawn = axes.imshow(
            values, cmap=colours, vmin=low, vmax=high, origin="lower", extent=(x[0], x[-1], z[0], z[-1])
        )
        axes.set(xlabel="x, nm", ylabel="z, nm", title=title)
        right.colorbar(drawn, ax=axes, shrink=0.8)
    for axes in right.axes:
        axes.title.set_fontsize(9)
    figure.savefig(path, dpi=100)


def rocking_curve() -> ew.RockingCurve:
    """An empty rocking curve at 34-ID-C."""
    made = ew.Diffractometer(
        name="34-ID-C",
        sample_circles=(
            ew.Circle(name="theta", axis="y+"),
            ew.Circle(name="chi", axis="z-"),
            ew.Circle(name="phi", axis="y+"),
        ),
        detector_circles=(ew.Circle(name="delta", axis="y+"), ew.Circle(name="gamma", axis="x-")),
    )
    angles = [np.radians(angle) for angle in (0.2, 90.0, -5.0, 32.2, 12.6)]
    return ew.RockingCurve(
        patterns=torch.zeros(48, 48, 48),
        geometry=ew.Geometry.from_energy(9000, 0.5, (150e-6, 150e-6)),
        angles_rad=np.radians(0.2 + 0.025 * (np.arange(48) - 24)),
        diffraction=ew.BraggGeometry(
            diffractometer=made,
            sample_angles_rad=tuple(angles[:3]),
            detector_angles_rad=tuple(angles[3:]),
            rocked="theta",
        ),
    )


def _draw_beams(axes: Any, curve: ew.RockingCurve) -> None:
    """Arrows in the laboratory: right-handed with z to the right, x to the front, y up."""
    geometry, detector = curve.geometry, curve.diffraction
    wavenumber = 2 * np.pi / geometry.wavelength_m
    q = curve.scattering_vector / wavenumber
    incident = np.array([1.0, 0.0, 0.0])
    arrows = (
        (-incident, incident, "#888888", "beam $k_i$"),
        (np.zeros(3), incident, "#cccccc", ""),
        (np.zeros(3), incident + q, "#3b82c4", "scattered $k_f$"),
        (np.zeros(3), q, "#c8434b", "$Q = k_f - k_i$"),
        (np.zeros(3), 0.5 * detector.rocking_axis(), "#2a9d6f", "rocking axis"),
    )
    for start, vector, colour, name in arrows:
        (z, y, x), (dz, dy, dx) = start, vector
        axes.quiver(z, x, y, dz, dx, dy, color=colour, arrow_length_ratio=0.08)
        if name:
            tz, ty, tx = start + vector * (0.45 if start.any() else 1.06)
            axes.text(tz, tx, ty, name, color=colour, fontsize=9, ha="right" if name == "rocking axis" else "left")
    ends = (
        np.array([[-1, -1], [-1, 1], [1, 1], [1, -1], [-1, -1]])
        * 0.2
        / geometry.detector_pixel_m[0]
        * geometry.distance_m
    )
    corners = detector.scattered(geometry, ends[:, 0], ends[:, 1]) / wavenumber
    axes.plot(corners[:, 0], corners[:, 2], corners[:, 1], color="#3b82c4")
    axes.set(xlabel="z, along the beam", ylabel="x", zlabel="y, up", xlim=(-1, 1.1), ylim=(-0.4, 0.9), zlim=(-0.2, 0.6))
    axes.set(xticklabels=(), yticklabels=(), zticklabels=())
    axes.set_box_aspect((2.1, 1.3, 0.8), zoom=0.87)
    axes.view_init(elev=38, azim=-52)


def autophasenn(path: Path) -> None:
    """Four of forty made crystals: true, as the network of the package finds them, refined, and by 600 iterations."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    study, crystals = import_module("studies.autophasenn"), import_module("harness.made_crystals")
    network = ew.AutoPhaseNN(weights="crystals")
    settings = replace(ew.CrystalSettings(), oversampling=network.oversampling)
    drawn = crystals.made_cases(40, grid_px=network.grid_px, settings=settings, photons=study.PHOTONS, seed=study.SEED)
    study.figure(network, list(drawn), path)


PICTURES: dict[str, Callable[[Path], None]] = {
    "autophasenn": autophasenn,
    "overview": overview,
    "near_field": near_field,
    "4d_stem": stem,
    "bragg": bragg,
    "wrong_axes": wrong_axes,
    "bragg_geometry": bragg_geometry,
    "samples": samples,
    "probes": probes,
    "trajectories": trajectories,
    "crystals": crystals,
    "networks": networks,
    **{name: draw for name, draw in STUDIES.items() if RESULTS[name].exists()},
}


def main() -> None:
    """Make the pictures named, or all, each below 300 kB."""
    IMAGES.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        path = IMAGES / f"{name}.png"
        PICTURES[name](path)
        if path.stat().st_size > MOST_BYTES / 2:
            # A palette of 256 colours looks the same at this size and takes a third of the room.
            Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        size = path.stat().st_size
        print(f"{path.name:20} {size / 1000:6.0f} kB")
        assert size < MOST_BYTES, f"{path} is too large for a page"


if __name__ == "__main__":
    main()
