"""Learning rates in closed form."""

import math

import pytest

from exitwave.training.settings import TrainingSettings, learning_rate, stalled, stalls


def test_the_cosine_rises_falls_and_ends_at_a_hundredth():
    recipe = TrainingSettings(epochs=10, learning_rate=2e-3, warm_up=0.1)
    rates = [learning_rate(recipe, step, 201, []) for step in range(201)]
    assert rates[:20] == pytest.approx([2e-3 * (step + 1) / 20 for step in range(20)])
    assert rates[20] == pytest.approx(2e-3)
    assert rates[-1] == pytest.approx(2e-5)
    assert rates[110] == pytest.approx(2e-3 * (0.01 + 0.99 / 2))
    for step in range(20, 201):
        share = 0.01 + 0.99 * math.cos(math.pi / 2 * (step - 20) / 180) ** 2
        assert rates[step] == pytest.approx(2e-3 * share)


def test_the_cosine_without_warm_up_starts_at_the_top():
    recipe = TrainingSettings(epochs=1, learning_rate=1e-3, warm_up=0.0)
    assert [learning_rate(recipe, step, 2, []) for step in (0, 1)] == pytest.approx([1e-3, 1e-5])
    assert learning_rate(recipe, 0, 1, []) == 1e-3


def test_a_warm_up_of_everything_only_rises():
    recipe = TrainingSettings(epochs=1, learning_rate=1e-3, warm_up=1.0)
    assert [learning_rate(recipe, step, 4, []) for step in range(4)] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3])


def test_the_plateau_halves_after_two_epochs_without_gain_down_to_a_floor():
    recipe = TrainingSettings(epochs=100, learning_rate=1e-3, schedule="plateau", warm_up=0.0)
    losses = [1.0, 0.9, 0.95, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, *[0.8] * 20]
    rates = [learning_rate(recipe, 5, 100, losses[:epoch]) for epoch in range(len(losses) + 1)]
    assert rates[:10] == pytest.approx([1e-3] * 4 + [5e-4] * 3 + [2.5e-4] * 2 + [1.25e-4])
    assert rates[-1] == pytest.approx(1e-4)
    assert (
        learning_rate(TrainingSettings(epochs=1, learning_rate=1e-5, schedule="plateau", warm_up=0.0), 0, 9, losses)
        == 1e-5
    )


def test_a_gain_too_small_to_matter_is_a_stall():
    assert stalls([1.0, 1.0 - 5e-5, 1.0 - 9e-5]) == 1
    assert stalls([1.0, 1.0 - 2e-4, 1.0 - 4e-4]) == 0
    assert stalls([-1.0, -1.1, -1.2]) == 0
    assert stalls([]) == 0


def test_patience_counts_epochs_without_a_lower_loss():
    assert not stalled([1.0, 1.0, 1.0], 3)
    assert stalled([1.0, 1.0, 1.1, 1.0], 3)
    assert not stalled([1.0, 1.1, 1.1, 0.99], 3)
    assert not stalled([1.0] * 50, None)
