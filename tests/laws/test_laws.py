"""The laws that every step, density and model keeps. Each test names the bug it catches."""

import pytest
import torch

from gentoolkit import Chain, log_z, log_z_error
from gentoolkit.core import Unsupported, checks
from tests.laws.cases import BIJECTIONS, DENSITIES, JOURNEYS, MODELS, PULLED_JOURNEYS, STEPS

F64 = torch.float64


def chain_of(model):
    """The model's chain, or None where it has none."""
    try:
        return model.chain()
    except Unsupported:
        return None


@pytest.mark.parametrize("name", STEPS)
def test_one_ratio_in_both_directions(name):
    """Catches a sign that flips on the way back, and a ratio of the wrong pair of states."""
    step, x = STEPS[name](F64)
    result = checks.same_ratio(step, x)
    assert result, result


@pytest.mark.parametrize("name", BIJECTIONS)
def test_bijections_come_back(name):
    """Catches an inverse that is not, and `-log_det` returned by the inverse."""
    step, x = BIJECTIONS[name]()
    result = checks.round_trip(step, x)
    assert result, result


@pytest.mark.parametrize("name", BIJECTIONS)
def test_log_det_is_slogdet_of_the_jacobian(name):
    """Catches a wrong Jacobian, which a round trip cannot see (0 cancels -0)."""
    step, x = BIJECTIONS[name]()
    result = checks.log_det(step, x)
    assert result, result


@pytest.mark.parametrize("name", DENSITIES)
def test_samples_fit_the_density(name):
    """Catches a missing constant, a variance in place of a deviation, a sampler of another law."""
    result = checks.fits(DENSITIES[name]())
    assert result, result


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", JOURNEYS)
def test_pushed_weights_average_to_z(name, seed):
    """Catches a weight of the wrong sign, a lost step, a lost source term."""
    journey = JOURNEYS[name]()
    generator = torch.Generator().manual_seed(seed)
    log_w = journey.chain.push(40_000, generator).log_weight(journey.target)
    result = checks.mean_weight(log_w, journey.target.log_z)
    assert result, result
    off = abs(float(log_z(log_w)) - journey.target.log_z)
    assert off <= 4 * float(log_z_error(log_w))


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", PULLED_JOURNEYS)
def test_pulled_weights_average_to_one_over_z(name, seed):
    """Catches a pull that samples another law than the one it scores."""
    journey = PULLED_JOURNEYS[name]()
    generator = torch.Generator().manual_seed(seed)
    x = journey.target.sample(40_000, generator)
    log_w = journey.chain.pull(x, generator).log_weight(journey.target)
    result = checks.mean_inverse_weight(log_w, journey.target.log_z)
    assert result, result


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", JOURNEYS)
def test_push_and_pull_tell_the_same_z(name, seed):
    """Catches what a mean of heavy weights hides: a flipped sign, a pull of another law."""
    journey = JOURNEYS[name]()
    generator = torch.Generator().manual_seed(seed)
    pushed = journey.chain.push(20_000, generator).log_weight(journey.target)
    x = journey.target.sample(20_000, generator)
    pulled = journey.chain.pull(x, generator).log_weight(journey.target)
    result = checks.bridge(pushed, pulled, journey.target.log_z)
    assert result, result


@pytest.mark.parametrize("name", JOURNEYS)
def test_replay_gives_the_same_account(name):
    """Catches steps replayed in the wrong order or with the states swapped."""
    journey = JOURNEYS[name]()
    pushed = journey.chain.push(50)
    again = journey.chain.replay(pushed.states)
    torch.testing.assert_close(again.log_ratio, pushed.log_ratio, rtol=0, atol=1e-10)
    torch.testing.assert_close(again.log_source, pushed.log_source, rtol=0, atol=1e-12)
    pulled = journey.chain.pull(pushed.states[-1])
    again = journey.chain.replay(pulled.states)
    torch.testing.assert_close(again.log_ratio, pulled.log_ratio, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_a_gradient_reaches_every_parameter(name):
    """Catches a detached branch and a parameter that nothing uses."""
    model, batch = MODELS[name]()
    assert checks.dead_parameters(lambda: model.loss(batch), model) == []


@pytest.mark.parametrize("name", MODELS)
def test_model_steps_keep_the_same_law(name):
    """Catches an encoder and a decoder whose ratio differs between directions."""
    model, batch = MODELS[name]()
    data = batch if isinstance(batch, torch.Tensor) else model.sample(7)
    chain = chain_of(model)
    states = [] if chain is None else chain.pull(data).states
    for step, x in zip(() if chain is None else chain.steps, states, strict=False):
        result = checks.same_ratio(step, x)
        assert result, result
    assert model.sample(5).shape == (5, *data.shape[1:])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", STEPS)
def test_dtype_survives(name, dtype):
    """Catches a constant that lifts float32 to float64, or drops float64 to float32."""
    torch.set_default_dtype(torch.float64 if dtype == torch.float32 else torch.float32)
    step, x = STEPS[name](dtype)
    y, ratio = step.push(x)
    back, pulled = step.pull(y)
    assert ratio.dtype == pulled.dtype == step.log_ratio(x, y).dtype == dtype
    assert back.dtype == x.dtype and (not y.is_floating_point() or y.dtype == dtype)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="the meta device stands in: the contract")
@pytest.mark.parametrize("name", MODELS)
def test_device_survives(name, device="cuda"):
    """Catches a tensor made on the default device inside a model."""
    model, batch = MODELS[name]()
    data = batch if isinstance(batch, torch.Tensor) else model.sample(7)
    model, data = model.to(device), data.to(device)
    chain = chain_of(model)
    told = model.loss(data) if chain is None else chain.pull(data).log_evidence()
    assert told.device.type == device
    assert model.sample(3).device.type == device


@pytest.mark.parametrize("name", STEPS)
def test_bad_states_are_refused_by_the_chain(name):
    """Catches NaN, an empty batch and a scalar that would run through to a silent number."""
    step, x = STEPS[name](F64)
    source = _AnySource(x)
    y = step.push(x)[0]
    for bad in (y[:0], y.flatten()[0]):
        with pytest.raises(ValueError, match="got"):
            Chain(source, [step]).pull(bad)
    if y.is_floating_point():
        poisoned = y.clone()
        poisoned[0] = torch.nan
        with pytest.raises(ValueError, match="finite"):
            Chain(source, [step]).pull(poisoned)


@pytest.mark.parametrize("name", STEPS)
def test_seeds_rule_everything(name):
    """Catches randomness drawn past the generator that was handed in."""
    step, x = STEPS[name](F64)
    chain = Chain(_AnySource(x), [step])
    first = chain.push(8, torch.Generator().manual_seed(5))
    torch.rand(7)
    second = chain.push(8, torch.Generator().manual_seed(5))
    for a, b in zip(first.states, second.states, strict=True):
        assert torch.equal(a, b)
    y = first.states[-1]
    one, two = (chain.pull(y, torch.Generator().manual_seed(6)).states[0] for _ in range(2))
    assert torch.equal(one, two)


class _AnySource:
    """A source for any kind of state: it resamples the rows of a batch, with no density."""

    def __init__(self, x):
        self.x = x

    def sample(self, n, generator=None):
        return self.x[torch.randint(len(self.x), (n,), generator=generator)]

    def log_prob(self, x):
        return torch.zeros(x.shape[0])
