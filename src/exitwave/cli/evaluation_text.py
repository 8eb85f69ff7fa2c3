"""Figures of merit in the terminal: in groups, with units, and what each means."""

from collections.abc import Iterator

from exitwave.cli.verdict import verdict_text
from exitwave.data.estimate import PtychoEstimate
from exitwave.data.geometry import Particle, noise_of
from exitwave.data.result import Result
from exitwave.evaluation.evaluation import Evaluation
from exitwave.evaluation.meaning import GROUPS, Meaning, meaning_of
from exitwave.evaluation.metrics import Group
from exitwave.reports.formatting import duration, number, quantity
from exitwave.reports.tables import alignment_facts


def evaluation_text(result: Result, found: Evaluation, *, everything: bool = False) -> str:
    """The verdict, then the figures, a line each; with `everything` also those of papers, and all ids."""
    blocks = [] if found.verdict is None else [verdict_text(found.verdict)]
    for group, heading in GROUPS.items():
        if lines := list(_lines(group, result, found, everything=everything)):
            blocks.append("\n".join([heading, *lines]))
    if found.alignment:
        blocks.append(_removed(found, everything=everything))
    if hint := _unmeasured(result, found):
        blocks.append(hint)
    return "\n\n".join(blocks)


def _lines(group: Group, result: Result, found: Evaluation, *, everything: bool) -> Iterator[str]:
    if group == "further" and not everything:
        return
    for name, value in found.metrics.items():
        meaning = meaning_of(name)
        if meaning.group != group:
            continue
        told = _text(name, meaning, float(value), found, result.geometry.particle)
        title = name if everything else meaning.title
        yield f"  {title:22} {quantity(float(value), meaning.unit, result.object_pixel_m):>16}   {told}"


def _text(name: str, meaning: Meaning, value: float, found: Evaluation, particle: Particle) -> str:
    text, noise = meaning.text, found.noise_residual
    if name == "residual" and noise is not None:
        text += f"; {noise_of(particle)} alone would leave about {number(noise, 2)}"
    if meaning.unit != "nyquist":
        return text
    curve = found.curves.get("FRC-split" if name.endswith("-split") else "FRC")
    remark = f"; {curve.remark}" if curve is not None and curve.remark and "half-bit" in name else ""
    return f"{text} ({number(value)} of Nyquist{remark})"


def _removed(found: Evaluation, *, everything: bool) -> str:
    """What was taken off before images were compared: in a word, or with figures."""
    words = ", ".join(found.alignment["removed"])
    if not everything:
        return f"removed before comparing, as diffraction cannot know it: {words}"
    facts = (
        f"  {fact.name:22} {fact.value:>16}" for fact in alignment_facts(found.alignment) if fact.name != "removed"
    )
    return "\n".join([f"Removed before comparing: {words}", *facts])


def _unmeasured(result: Result, found: Evaluation) -> str:
    """How to get the resolution where it was not asked for."""
    if not isinstance(result.estimate, PtychoEstimate) or any(name.startswith("FRC") for name in found.metrics):
        return ""
    seconds = result.provenance.get("solver_seconds")
    takes = (
        f", in about {duration(float(f'{seconds:.2g}'))}" if isinstance(seconds, int | float) and seconds > 0 else ""
    )
    return f"resolution: not measured; --split-half reconstructs two halves of the frames and compares them{takes}"
