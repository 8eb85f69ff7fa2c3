"""Gauge: what diffraction cannot know is made alike in several reconstructions of one measurement, so that they can be averaged."""

from dataclasses import replace
from functools import singledispatch
from typing import Any

import torch
from torch import Tensor

from exitwave.data.estimate import Estimate, PtychoEstimate, SupportEstimate
from exitwave.evaluation.cdi_alignment import register_twin


@singledispatch
def same_gauge(x: Estimate, reference: Estimate) -> Any:
    """The estimate as it would be in the gauge of another one, by kind; here of any kind: with its global phase."""
    return replace(x, object=x.object * _turn(x.object, reference.object))


@same_gauge.register
def _(x: PtychoEstimate, reference: Estimate) -> PtychoEstimate:
    """One window at the same place in all: the global phase, which the probe has the other way round."""
    turn = _turn(x.object, reference.object)
    return replace(x, object=x.object * turn, probe=x.probe * turn.conj())


@same_gauge.register
def _(x: SupportEstimate, reference: Estimate) -> SupportEstimate:
    """Shift, twin and global phase."""
    laid = register_twin(x.object, reference.object)
    support = laid.moved(x.support).abs() > 0.5
    return replace(x, object=torch.where(support, laid.image, 0.0), support=support)


def _turn(image: Tensor, reference: Tensor) -> Tensor:
    """The factor of modulus 1 on an image that brings it nearest to another."""
    overlap = (reference.conj() * image).sum()
    return (overlap / overlap.abs().clamp(min=1e-30)).conj()
