"""Compatibility of a trained network with a measurement: the same network, frames, photons and a probe like those trained on."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from exitwave.data.errors import InputError
from exitwave.data.estimate import PtychoEstimate
from exitwave.io.weights import Weights
from exitwave.physics.fourier import fft2, ifft2
from exitwave.problems.groups.neighbours import Grouping
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.solvers.neural.reconstruction_network import option_names

if TYPE_CHECKING:
    from exitwave.solvers.neural.network_solver import NetworkSolver
    from exitwave.solvers.neural.training_data import TrainingScan

MOST_PROBES = 16
"""Probes that are kept of the scans trained on: those most unlike each other."""
TOO_FEW, TOO_MANY = 1 / 3, 3.0
"""Photons a frame, relative to the least and the most trained on, beyond which a network is not trusted."""
ALIKE = 0.9
"""Overlap of two probes above which they count as the same; a network trained on several is trusted as far as they differ."""
UNLIKE_GROUPS = 4
"""Groups so many times as large, or as small, as those trained on look different."""
FEW_STRAYS = 0.05
"""Share of frames in groups unlike the others above which it is told."""
SAME_PLACE = 0.25
"""Steps of the scan between the places of a frame in two arrangements up to which they are the same."""
OWN_TWIN = 0.9
"""Overlap of a probe with its own twin above which one pattern cannot tell a sample from the twin of it."""


def require_same_solver(solver: str, weights: str, spec: Mapping[str, Any]) -> None:
    """Refuse weights of another solver; `spec` is what they say of themselves."""
    if spec.get("name") != solver:
        raise InputError(f"{weights} holds a trained {spec.get('name')}, not {solver}; name that instead")


def require_same_network(solver: "NetworkSolver", stored: Weights) -> None:
    """Refuse weights of another solver or network, naming the options that differ."""
    require_same_solver(solver.name, str(solver.weights), stored.spec)
    spec, own = (each.plain_options() for each in (solver.like_stored(stored.spec), solver))
    deciding = ["network", *option_names(type(solver.network)), "warm_start", "learn_scale"]
    # Where it is not told which frame is where, a group's patterns are the channels of the network.
    deciding += [] if solver.network.sees_positions else ["group", "grouping"]
    other = [o for o in deciding if spec.get(o) != own.get(o)]
    if other:
        told = ", ".join(f"{o} {spec.get(o)!r} (here {own.get(o)!r})" for o in other)
        raise InputError(
            f"{solver.weights} was trained with {told}; take its own options: give the folder in place of the solver's name "
            f"(from_spec({solver.weights!r}) in Python)"
        )


def require_same_frames(solver: "NetworkSolver", stored: Weights, shape: tuple[int, int]) -> None:
    """Refuse frames that the network cannot see."""
    shapes = _shapes(stored)
    if not solver.network.any_frame_shape and shape not in shapes:
        raise InputError(
            f"frames are {shape[0]} x {shape[1]} pixels, but the {solver.network.name} {solver.weights} was trained on "
            f"{_told_shapes(shapes)} and takes no others: crop, bin or pad them (--prepare), or train another one"
        )


def _shapes(stored: Weights) -> list[tuple[int, ...]]:
    return [tuple(known) for known in stored.record.get("frame_shapes", [])]


def _told_shapes(shapes: Sequence[tuple[int, ...]]) -> str:
    return ", ".join(" x ".join(map(str, shape)) for shape in shapes)


def trained_on(lessons: Sequence["TrainingScan"]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """What is kept of the scans trained on, to tell later whether a measurement is like them: numbers, and their probes."""
    photons = [lesson.problem.power / len(lesson.problem) for lesson in lessons]
    shapes = sorted({tuple(lesson.problem.scan.frame_shape) for lesson in lessons})
    record = {
        "frames": sum(len(lesson.problem) for lesson in lessons),
        "frame_shapes": [list(shape) for shape in shapes],
        "photons_per_frame": [min(photons), max(photons)],
        "scans": [_told(lesson.problem.scan.provenance) for lesson in lessons],
    }
    probes = most_unlike([lesson.x.probe[0] for lesson in lessons], MOST_PROBES)
    return record, {f"probe.{n}": normalised(probe) for n, probe in enumerate(probes)}


def most_unlike(probes: Sequence[Tensor], count: int) -> list[Tensor]:
    """So many of the probes, of any sizes, that stand for all: the first, then always the one least like those chosen
    (Gonzalez, 1985).
    """
    if len(probes) <= count:
        return list(probes)
    chosen = [0]
    nearest = [0.0] * len(probes)
    while len(chosen) < count:
        last = probes[chosen[-1]]
        for number, probe in enumerate(probes):
            # Of another size: as unlike as can be.
            alike = overlap(last, probe) if last.shape == probe.shape else 0.0
            nearest[number] = max(nearest[number], alike)
        chosen.append(min((n for n in range(len(probes)) if n not in chosen), key=lambda n: nearest[n]))
    return [probes[number] for number in sorted(chosen)]


def _told(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies a scan."""
    return {key: provenance[key] for key in ("file", "source", "object", "probe", "seed") if key in provenance}


def network_warnings(
    problem: PtychographyProblem, x: PtychoEstimate, stored: Weights | None, *, groups: Grouping, name: str
) -> tuple[str, ...]:
    """Why the image of a network may not be trusted, with numbers; `stored` are its weights, None while it learns here."""
    found: list[str] = []
    group = groups.size
    if stray := strays_told(groups, problem):
        found.append(stray)
    if group == 1 and (own := overlap(x.probe[0], twin(x.probe[0]))) > OWN_TWIN:
        found.append(
            f"the probe is nearly its own twin (overlap {own:.3f}; below {OWN_TWIN} is needed): single patterns (group 1) "
            "cannot tell the sample from its mirror image; take group 4 or more, or a curved (defocused) probe"
        )
    if stored is None:
        return tuple(found)
    if (ending := str(stored.record.get("ending", ""))).startswith("interrupted"):
        found.append(f"the training of {name} was {ending}: go on with it (exitwave train ... --resume)")
    trained = int(stored.spec.get("group", group))
    if not 1 / UNLIKE_GROUPS < group / trained < UNLIKE_GROUPS:
        found.append(
            f"groups are of {group} frames, but {name} was trained on groups of {trained}; take --group {trained}, or train it so"
        )
    found += _rearranged(groups, problem, stored, name)
    return (*found, *_misfits(problem, x, stored, name))


def strays_told(groups: Grouping, problem: PtychographyProblem) -> str:
    """Which part of a scan stands in groups unlike the others; nothing where it is small. Raises InputError where it is large."""
    share = groups.strays(problem.positions_px)
    if share <= FEW_STRAYS:
        return ""
    return (
        f"{100 * share:.0f} % of the frames stand in no group of {groups.size} that is arranged like the others (below "
        f"{100 * FEW_STRAYS:.0f} % is good): the network is not told where frames are, so that its image is less sharp there; a "
        "regular scan is better, or the network unet, or single frames (group 1)"
    )


def unlike(one: Float[Tensor, "member 2"], other: Float[Tensor, "member 2"]) -> float:
    """How far the worst member stands from its place in another arrangement, in steps of that."""
    return float((one - other).norm(dim=1).max() / torch.pdist(other).min())


def _rearranged(groups: Grouping, problem: PtychographyProblem, stored: Weights, name: str) -> list[str]:
    here, known = groups.arrangement(problem.positions_px), stored.record.get("arrangement")
    if here is None or known is None or len(known) != len(here):
        return []
    if (away := unlike(here, torch.tensor(known, dtype=here.dtype))) <= SAME_PLACE:
        return []
    return [
        f"frames of a group stand up to {away:.2g} steps from where those stood that {name} was trained on ({SAME_PLACE} at most "
        "is good), which the network is not told; take the network unet, or train on scans like this one"
    ]


def _misfits(problem: PtychographyProblem, x: PtychoEstimate, stored: Weights, name: str) -> list[str]:
    found: list[str] = []
    shape, record = tuple(problem.scan.frame_shape), stored.record
    shapes = _shapes(stored)
    if shape not in shapes:
        found.append(f"frames are {shape[0]} x {shape[1]} pixels, but {name} was trained on {_told_shapes(shapes)}")
    photons, (least, most) = problem.power / len(problem), record.get("photons_per_frame", [0.0, float("inf")])
    if not TOO_FEW * least <= photons <= TOO_MANY * most:
        trained = " to ".join(dict.fromkeys(f"{bound:.3g}" for bound in (least, most)))
        found.append(f"frames hold {photons:.3g} photons, but {name} was trained on {trained}")
    probes = [value for key, value in stored.tensors.items() if key.startswith("probe.") and value.shape == shape]
    # 0.1.0 kept those of all scans.
    probes = most_unlike(probes, MOST_PROBES)
    if probes:
        best = max(overlap(x.probe[0].cpu(), probe) for probe in probes)
        spread = min([overlap(a, b) for i, a in enumerate(probes) for b in probes[:i]] + [ALIKE])
        if best < spread:
            found.append(
                f"the probe has an overlap of {best:.3f} with the nearest of {len(probes)} probes that {name} was trained on, "
                f"where {spread:.3f} is expected"
            )
    advice = (
        "; judge the image by its residual, finetune on this scan (--finetune 5) or refine with an iterative solver"
    )
    return [fault + advice for fault in found]


def normalised(probe: Complex[Tensor, "y x"]) -> Complex[Tensor, "y x"]:
    """A probe with one photon."""
    return probe.cpu() / probe.abs().square().sum().sqrt().clamp(min=1e-30).cpu()


def overlap(one: Complex[Tensor, "y x"], other: Complex[Tensor, "y x"]) -> float:
    """How alike two probes are, 0 to 1, wherever they lie in the frame and whatever their phase and strength."""
    a, b = fft2(normalised(one)), fft2(normalised(other))
    # The largest of all correlations, at whole pixels; unitary transforms make it too small by the root of the pixels.
    return float((ifft2(a.conj() * b) * one.numel() ** 0.5).abs().max())


def twin(probe: Complex[Tensor, "y x"]) -> Complex[Tensor, "y x"]:
    """The conjugate inversion P*(-r)."""
    return ifft2(fft2(probe).conj())
