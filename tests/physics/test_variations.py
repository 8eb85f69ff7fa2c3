"""Variations of the probe: what frames ask for is found without disturbing what others look at."""

from dataclasses import replace

import torch

from exitwave.physics.guess import first_guess
from exitwave.physics.problem import Problem
from exitwave.physics.refinement.variations import Variations, unvaried
from exitwave.physics.refinement.view import View
from exitwave.starting import thick
from scans import known_scan


def test_a_look_at_a_thick_sample_leaves_the_view_to_others_as_it_was():
    problem = Problem.of(known_scan(side=4).scan)
    x = unvaried(problem, thick(first_guess(problem), 2, 1e-6), 1)
    x = replace(x, object=x.object * torch.linspace(0.5, 1, x.object.shape[-1]))
    view = View(
        problem=problem,
        x=x,
        frames=torch.arange(6),
        gaps=problem.model.gaps(x),
        background=problem.model.background(x),
    )
    found = view.change.clone()
    Variations().add_(Variations().empty(problem, x), view)
    assert torch.equal(view.change, found)
