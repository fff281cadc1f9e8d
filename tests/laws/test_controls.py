"""Negative controls: for each law, one step or density that breaks it must fail the same check."""

from dataclasses import dataclass

import torch

from gentoolkit import Chain, FunctionKernel, Gaussian, Reversible
from gentoolkit.core import checks
from tests.laws.cases import JOURNEYS, PULLED_JOURNEYS
from tests.laws.examples import Affine, Flattened, Metropolis, Sinh, linear_gaussian, lopsided
from tests.laws.kinds import Normalised


class FlippedOnPull(FunctionKernel):
    """The classic: the sign of the ratio turns with the direction."""

    def pull(self, y, generator=None):
        x, ratio = super().pull(y, generator)
        return x, -ratio


class NoJacobian(Sinh):
    """A log-determinant of zero both ways: it cancels, and is wrong."""

    def transform(self, x):
        return x.sinh(), torch.zeros(x.shape[0])

    def inverse(self, y):
        return y.asinh(), torch.zeros(y.shape[0])


class MinusOnTheWayBack(Affine):
    """Returns -log|det| from the inverse."""

    def inverse(self, y):
        x, log_det = super().inverse(y)
        return x, -log_det


class MixesTheBatch(Sinh):
    """Looks at the other rows, as a batch norm would."""

    def transform(self, x):
        y, log_det = super().transform(x)
        return y + 0.1 * x.mean(0), log_det


@dataclass(frozen=True)
class AlwaysAccepts(Reversible):
    """Takes every proposal that stays near the origin more often: not in detailed balance."""

    target: object

    def log_g(self, x):
        return self.target.log_prob(x)

    def move(self, x, generator=None):
        return 0.7 * x + torch.randn(x.shape, generator=generator)


def test_a_flipped_sign_fails_the_ratio_law():
    kernel = linear_gaussian(torch.float64)
    x = torch.randn(16, 2)
    assert checks.same_ratio(kernel, x)
    assert not checks.same_ratio(FlippedOnPull(kernel.f, kernel.b), x)


def test_a_trailing_one_fails_the_ratio_law():
    kernel = linear_gaussian(torch.float64)

    class Column(FunctionKernel):
        def push(self, x, generator=None):
            y, ratio = super().push(x, generator)
            return y, ratio[:, None]

    assert not checks.same_ratio(Column(kernel.f, kernel.b), torch.randn(16, 2))


def test_a_minus_on_the_way_back_fails_the_round_trip():
    a, c = torch.tensor([[2.0, 0.3], [0.1, 1.5]]), torch.zeros(2)
    assert checks.round_trip(Affine(a, c), torch.randn(5, 2))
    assert not checks.round_trip(MinusOnTheWayBack(a, c), torch.randn(5, 2))


def test_a_missing_jacobian_passes_the_round_trip_and_fails_slogdet():
    x = torch.randn(5, 2)
    assert checks.round_trip(NoJacobian(), x)
    assert not checks.log_det(NoJacobian(), x)


def test_a_map_that_mixes_rows_fails_slogdet():
    assert not checks.log_det(MixesTheBatch(), torch.randn(5, 2))


def test_a_wrong_deviation_fails_the_fit():
    class Wide(Gaussian):
        def log_prob(self, x):
            return Gaussian(self.mean, 1.15 * self.std).log_prob(x)

    assert checks.fits(Gaussian(torch.zeros(1, 2), 1.0))
    assert not checks.fits(Wide(torch.zeros(1, 2), 1.0))


def test_a_missing_constant_fails_the_fit():
    assert checks.fits(Normalised(lopsided()))
    assert not checks.fits(lopsided())


def test_a_flipped_weight_fails_the_bridge():
    """The mean of flipped weights has no finite variance and may pass; the bridge does not."""
    journey = JOURNEYS["kernel"]()

    def weights(sign):
        x = journey.target.sample(20_000)
        for paths in (journey.chain.push(20_000), journey.chain.pull(x)):
            evidence = paths.log_source - sign * paths.log_ratio.sum(0)
            yield journey.target.log_prob(paths.states[-1]) - evidence

    assert checks.bridge(*weights(1), journey.target.log_z)
    assert not checks.bridge(*weights(-1), journey.target.log_z)
    assert not checks.bridge(*weights(1), journey.target.log_z + 0.1)


def test_a_lost_source_term_fails_e_w_equals_z():
    journey = JOURNEYS["kernel"]()
    trajectory = journey.chain.push(40_000)
    wrong = trajectory.log_weight(journey.target) + trajectory.log_source
    assert not checks.mean_weight(wrong, journey.target.log_z)


def test_a_pull_of_another_law_fails_the_inverse_weight():
    journey = PULLED_JOURNEYS["kernel"]()
    kernel = journey.chain.steps[0]

    class Narrow(FunctionKernel):
        def pull(self, y, generator=None):
            x = Gaussian(self.b(y).mean, 0.65).sample(generator=generator)
            return x, self.log_ratio(x, y)

    x = journey.target.sample(40_000)
    chain = Chain(journey.chain.source, [Narrow(kernel.f, kernel.b)])
    assert not checks.mean_inverse_weight(
        chain.pull(x).log_weight(journey.target), journey.target.log_z
    )


def test_a_move_out_of_balance_fails_e_w_equals_z():
    target, source = lopsided(), Gaussian(torch.zeros(1, 2), 2.5)
    kept = Flattened(target)
    good = Chain(source, [Metropolis(kept)]).push(40_000).log_weight(target)
    bad = Chain(source, [AlwaysAccepts(kept)]).push(40_000).log_weight(target)
    assert checks.mean_weight(good, target.log_z)
    assert not checks.mean_weight(bad, target.log_z)


def test_a_detached_branch_is_a_dead_parameter():
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    x = torch.randn(4, 2)
    assert checks.dead_parameters(lambda: model(x).mean(), model) == []
    dead = checks.dead_parameters(lambda: model[1](model[0](x).detach()).mean(), model)
    assert dead == ["0.weight", "0.bias"]


def test_a_nan_never_passes():
    """Catches a check that compares NaN with <= the wrong way round."""
    assert not checks.Check("nan", float("nan"), 1.0)
    assert not checks.mean_is(torch.tensor([float("nan"), 1.0]), 1.0)
    assert str(checks.Check("x", 2.0, 1.0)).startswith("FAIL")
