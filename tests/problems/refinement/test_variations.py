"""Variations of the probe: what frames ask for is found without disturbing what others look at."""

from dataclasses import replace

import torch

from exitwave.problems.initial_guess import first_guess, with_slices
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.refinement.modelled_frames import ModelledFrames
from exitwave.problems.refinement.variations import Variations, with_variations
from exitwave.problems.setup import Setup
from scans import known_scan


def test_a_look_at_a_thick_sample_leaves_the_view_to_others_as_it_was():
    problem = PtychographyProblem.of(known_scan(side=4).scan)
    x = with_variations(problem, with_slices(first_guess(problem), Setup(slices=2, slice_spacing_m=1e-6)), 1)
    x = replace(x, object=x.object * torch.linspace(0.5, 1, x.object.shape[-1]))
    view = ModelledFrames(
        problem=problem,
        x=x,
        frames=torch.arange(6),
        gaps=problem.model.gap_transfers(x),
        background=problem.model.background(x),
    )
    found = view.change.clone()
    Variations().add_(Variations().empty(problem, x), view)
    assert torch.equal(view.change, found)
