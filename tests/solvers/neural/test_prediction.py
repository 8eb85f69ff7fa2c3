"""A whole object from a network: the same on any number of threads and wherever the frames are."""

from dataclasses import replace

import pytest
import torch

from exitwave.problems.groups.neighbours import Neighbours
from exitwave.problems.ptychography import MemoryBudget, PtychographyProblem
from exitwave.solvers.neural.prediction import predicted
from exitwave.solvers.neural.ptychopinn import PtychoPINN
from scans import known_scan

FOUR = Neighbours(size=4, nearest=4)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def seen(problem: PtychographyProblem, truth, *, together: int = 8) -> torch.Tensor:
    network = PtychoPINN(group=4, stages=2).fresh((32, 32), 1)
    x = replace(truth, object=torch.ones_like(truth.object))
    return predicted(network, problem, x, grouping=FOUR, together=together, begun=False).image


@pytest.mark.parametrize("whole", [True, False])
def test_the_image_does_not_depend_on_the_number_of_threads(whole, two_threads):
    known = known_scan(side=6, whole=whole)
    problem = PtychographyProblem.of(known.scan)
    images = []
    for threads in (1, 2, 3):
        two_threads(threads)
        images.append(seen(problem, known.truth))
        assert torch.get_num_threads() == threads
    assert torch.equal(images[0], images[1])
    assert torch.equal(images[0], images[2])


def test_frames_read_from_disk_give_the_same_image():
    known = known_scan(side=6)
    held, streamed = (
        PtychographyProblem.of(known.scan),
        PtychographyProblem.of(known.scan, memory=MemoryBudget(cached=0)),
    )
    assert streamed.streamed
    assert torch.equal(seen(held, known.truth), seen(streamed, known.truth))
