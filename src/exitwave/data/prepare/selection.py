"""Selection of the frames of a scan, and of where they are kept."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from exitwave.data.arrays import as_tensor
from exitwave.data.errors import ExitwaveError, InputError
from exitwave.data.measurement import M
from exitwave.data.patterns import ArrayPatterns
from exitwave.data.prepare.chunks import chunks, noted
from exitwave.data.scan import Scan
from exitwave.data.statistics import scan_statistics


def select(scan: M, index: slice | Sequence[int] | Int[Tensor, " kept"] | Bool[Tensor, " frame"]) -> M:
    """Keep some frames with their positions: a slice, frame numbers in any order, or True for each frame to keep."""
    # Of a range, because tensors take no negative steps.
    chosen = list(range(len(scan))[index]) if isinstance(index, slice) else index
    kept = _numbers(as_tensor(chosen), len(scan))
    if len(kept) == 0:
        raise InputError(f"no frame of {len(scan)} is selected; select at least one")
    return replace(scan.some(kept), provenance=noted(scan, f"select: {len(kept)} of {len(scan)} frames"))


def drop_empty(scan: M) -> M:
    """Leave out the frames without a photon in any trusted pixel; reads the whole stack once."""
    lit = scan_statistics(scan).photons_per_frame > 0
    return scan if bool(lit.all()) else select(scan, lit)


def drop_duplicates(scan: Scan) -> Scan:
    """Keep only the first of frames whose positions are exactly the same."""
    seen: dict[tuple[float, float], int] = {}
    for number, (y, x) in enumerate(scan.positions_m.tolist()):
        seen.setdefault((y, x), number)
    return scan if len(seen) == len(scan) else select(scan, list(seen.values()))


def _numbers(index: Tensor, frames: int) -> Int[Tensor, " kept"]:
    if index.dtype == torch.bool:
        if tuple(index.shape) != (frames,):
            raise InputError(
                f"the selection has shape {tuple(index.shape)}; expected True or False for {frames} frames"
            )
        return index.nonzero().flatten().cpu()
    if index.numel() == 0:
        return torch.zeros(0, dtype=torch.int64)
    if index.ndim != 1 or index.is_floating_point() or index.is_complex():
        raise InputError(f"the selection is {index.dtype} of shape {tuple(index.shape)}; expected frame numbers")
    beyond = (index < -frames) | (index >= frames)
    if bool(beyond.any()):
        raise InputError(f"frame {int(index[beyond][0])} is selected but the scan has frames 0 to {frames - 1}")
    return (index.to(torch.int64) % frames).cpu()


def to_memory(scan: M) -> M:
    """Read all frames once and keep them as float32; what was lazily prepared is done for good.

    Raises ExitwaveError where they do not fit.
    """
    try:
        held = torch.empty(scan.patterns.shape)
    except RuntimeError as error:
        size_gib = 4 * torch.Size(scan.patterns.shape).numel() / 2**30
        raise ExitwaveError(
            f"{len(scan)} frames need {size_gib:.1f} GiB of memory; leave them on disk, crop, bin or select fewer"
        ) from error
    for index, frames in chunks(scan):
        held[index] = frames.cpu()
    return replace(scan, patterns=ArrayPatterns(held))
