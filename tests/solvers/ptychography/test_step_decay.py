"""Steps shrink only in the last epochs, and to a tenth."""

import pytest

from exitwave.solvers.ptychography.step_decay import step_decay_done, step_scale


@pytest.mark.parametrize(("epochs", "share", "resting"), [(40, 0.25, 30), (10, 0.5, 5), (5, 1.0, 0)])
def test_steps_are_whole_until_the_last_epochs_and_then_shrink_evenly_to_a_tenth(epochs, share, resting):
    gains = [step_scale(epoch, epochs, share) for epoch in range(1, epochs + 1)]
    assert gains[:resting] == [1.0] * resting
    falls = [before - after for before, after in zip([1.0, *gains[resting:]], gains[resting:], strict=False)]
    assert falls == pytest.approx([0.9 / (epochs - resting)] * (epochs - resting))
    assert gains[-1] == pytest.approx(0.1)


def test_without_settling_steps_stay_whole():
    assert step_scale(50, 50, 0.0) == 1.0
    assert step_decay_done(1, 1, 0.25) == 0.0
