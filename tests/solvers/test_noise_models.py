"""A problem posed with another noise model: honoured by methods that know it, refused by name by those that do not."""

import pytest
import torch

from exitwave.data.errors import InputError
from exitwave.physics.noise import Amplitude, Gaussian, Poisson, SmoothL1, noise_model
from exitwave.problems.initial_guess import first_guess
from exitwave.problems.ptychography import PtychographyProblem
from exitwave.problems.setup import Setup
from exitwave.running.reconstruct import reconstruct
from exitwave.solvers.base import Step
from exitwave.solvers.registry import solvers
from exitwave.solvers.spec import from_spec
from scans import known_scan

HONOUR = ("adam", "lbfgs", "apg")


@pytest.fixture(scope="module")
def scan():
    return known_scan(side=3, photons=300).scan


def image(problem, name, **options):
    *_, last = solvers()[name](epochs=3, **options).solve(problem, Step(epoch=0, estimate=first_guess(problem)))
    return last.estimate.object


@pytest.mark.parametrize("name", HONOUR)
def test_the_noise_a_problem_is_posed_with_is_that_of_the_option(scan, name):
    named = image(PtychographyProblem.of(scan), name, noise="poisson")
    assert torch.equal(image(PtychographyProblem.of(scan, noise=noise_model("poisson")), name), named)
    assert not torch.equal(image(PtychographyProblem.of(scan), name), named)


@pytest.mark.parametrize("name", HONOUR)
def test_an_option_named_outweighs_the_problem(scan, name):
    assert torch.equal(
        image(PtychographyProblem.of(scan, noise=Poisson()), name, noise="amplitude"),
        image(PtychographyProblem.of(scan), name),
    )


@pytest.mark.parametrize("name", sorted(set(solvers()) - {"apg"}))
def test_who_does_not_know_the_noise_refuses_it_and_names_those_that_do(scan, name):
    cls = solvers()[name]
    if cls.solves is not PtychographyProblem or "noise" not in cls.unsupported:
        return
    problem = PtychographyProblem.of(scan, noise=Poisson())
    with pytest.raises(InputError, match=rf"{name} cannot reconstruct with noise.*adam, apg, lbfgs can"):
        list(cls().solve(problem, Step(epoch=0, estimate=first_guess(problem))))


def test_only_three_methods_honour_other_noise():
    single = {
        n
        for n, cls in solvers().items()
        if cls.solves is PtychographyProblem and n not in ("chain", "ensemble", "refined")
    }
    assert {n for n in single if "noise" not in solvers()[n].unsupported} == set(HONOUR)


def test_reconstruct_hands_its_noise_on_or_says_who_can(scan):
    assert (
        reconstruct(scan, solvers()["lbfgs"](epochs=1), setup=Setup(noise="poisson")).estimate.object.isfinite().all()
    )
    with pytest.raises(InputError, match="rpie cannot"):
        reconstruct(scan, solvers()["rpie"](epochs=1), setup=Setup(noise="poisson"))


def test_apg_refuses_noise_without_a_proximal_map(scan):
    for noise in (Gaussian(), SmoothL1()):
        with pytest.raises(InputError, match="no proximal map"):
            image(PtychographyProblem.of(scan, noise=noise), "apg")


def test_what_0_1_0_called_gaussian_in_apg_is_the_amplitude_model():
    assert from_spec({"name": "apg", "noise": "gaussian"}) == from_spec({"name": "apg", "noise": "amplitude"})


@pytest.mark.parametrize(("name", "kind"), [("amplitude", Amplitude), ("poisson", Poisson), ("smooth_l1", SmoothL1)])
def test_a_name_means_a_model(name, kind):
    assert type(noise_model(name)) is kind
    assert noise_model("gaussian", sigma=3.0) == Gaussian(sigma=3.0)
