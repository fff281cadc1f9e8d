"""The contract of every exported model, in both precisions. Each test names the bug it catches."""

import importlib
import inspect
from dataclasses import fields, is_dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from gentoolkit.core import Model, Unsupported
from gentoolkit.train import fit
from tests.laws.cases import CONDITIONALS, DENSITIES, MODELS, STEPS

FAMILIES = ("vi", "flows", "stochastic", "diffusion", "jumps", "gflownet", "adversarial")
BOTH = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
EVERY = pytest.mark.parametrize("name", [*MODELS, *CONDITIONALS])


def case(name, dtype):
    """Return a model, a batch and a context (or None), all of one precision."""
    torch.set_default_dtype(dtype)
    if name in MODELS:
        return *MODELS[name](), None
    return CONDITIONALS[name]()


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


class NothingGlobal:
    """Fails if anything inside draws from torch's global state."""

    def __enter__(self):
        self.before = torch.get_rng_state()

    def __exit__(self, kind, error, trace):
        if kind is None:
            assert torch.equal(self.before, torch.get_rng_state()), "drew past the generator"


def loose_tensors(root):
    """Return the tensors that can be reached from an object and are not on the meta device."""
    seen, found, queue = set(), [], [("", root)]
    while queue:
        path, thing = queue.pop()
        if id(thing) in seen or isinstance(thing, type):
            continue
        seen.add(id(thing))
        if isinstance(thing, Tensor):
            found += [] if thing.device.type == "meta" else [path]
        elif isinstance(thing, dict):
            queue += [(f"{path}.{k}", v) for k, v in thing.items()]
        elif isinstance(thing, list | tuple | set):
            queue += [(f"{path}[{k}]", v) for k, v in enumerate(thing)]
        elif type(thing).__module__.partition(".")[0] in {"gentoolkit", "tests", "torch"}:
            queue += [(f"{path}.{k}", v) for k, v in getattr(thing, "__dict__", {}).items()]
    return found


@BOTH
@EVERY
def test_models_are_models(name, dtype):
    """Catches a model without part of the contract, and an event shape that is another's."""
    model, batch, context = case(name, dtype)
    assert isinstance(model, nn.Module) and isinstance(model, Model)
    assert isinstance(model.event_shape, torch.Size)
    for method in (model.loss, model.sample, model.elbo):
        parameters = inspect.signature(method).parameters
        for option in ("context", "generator"):
            assert parameters[option].kind is inspect.Parameter.KEYWORD_ONLY, (method, option)
    if isinstance(batch, Tensor):
        assert batch.shape[1:] == model.event_shape


@BOTH
@EVERY
def test_a_loss_is_one_number_ruled_by_its_generator(name, dtype):
    """Catches a draw past the generator, a loss of another precision or shape."""
    model, batch, context = case(name, dtype)
    with NothingGlobal():
        one = model.loss(batch, context=context, generator=seeded())
    two = model.loss(batch, context=context, generator=seeded())
    assert one.shape == () and one.dtype == dtype and bool(one.isfinite())
    assert torch.equal(one, two) and one.requires_grad


@BOTH
@EVERY
def test_samples_are_ruled_by_their_generator_and_keep_no_gradient(name, dtype):
    """Catches a draw past the generator, a graph that is kept, a sample of another precision."""
    model, _, context = case(name, dtype)
    n = 5 if context is None else len(context)
    with NothingGlobal():
        one = model.sample(n, context=context, generator=seeded())
    two = model.sample(n, context=context, generator=seeded())
    assert one.shape == (n, *model.event_shape) and torch.equal(one, two)
    assert not one.requires_grad and (not one.is_floating_point() or one.dtype == dtype)
    with pytest.raises(ValueError, match="got 0"):
        model.sample(0, context=context)


@BOTH
@EVERY
def test_a_bound_is_one_number_a_row(name, dtype):
    """Catches a bound of the whole batch, of the other sign, or drawn past the generator."""
    model, batch, context = case(name, dtype)
    try:
        with NothingGlobal():
            one = model.elbo(batch, context=context, generator=seeded())
    except Unsupported as reason:
        assert ";" in str(reason), "the reason says what to use instead"
        return
    two = model.elbo(batch, context=context, generator=seeded())
    assert one.shape == (len(batch),) and torch.equal(one, two)
    assert one.is_floating_point() and bool(one.isfinite().all())


@BOTH
@EVERY
def test_a_chain_runs_both_ways(name, dtype):
    """Catches a chain that ends elsewhere than the data, or draws past the generator."""
    model, _, context = case(name, dtype)
    try:
        chain = model.chain(context)
    except Unsupported as reason:
        assert ";" in str(reason), "the reason says what to use instead"
        return
    n = 5 if context is None else len(context)
    with NothingGlobal():
        pushed = chain.push(n, seeded())
        pulled = chain.pull(pushed.states[-1].detach(), seeded())
    assert pushed.states[-1].shape == (n, *model.event_shape)
    assert pulled.log_evidence().shape == (n,)
    again = chain.push(n, seeded())
    assert torch.equal(pushed.log_ratio, again.log_ratio)


@pytest.mark.parametrize("name", MODELS)
def test_a_context_that_nobody_asked_for_is_refused(name):
    """Catches a condition that is ignored in silence."""
    model, batch, _ = case(name, torch.float64)
    context = torch.zeros(len(batch) if isinstance(batch, Tensor) else 5, 1)
    for call in (
        lambda: model.loss(batch, context=context),
        lambda: model.sample(len(context), context=context),
        lambda: model.chain(context),
        lambda: model.elbo(batch, context=context),
    ):
        with pytest.raises((ValueError, Unsupported), match="context|;"):
            call()


@pytest.mark.parametrize("name", CONDITIONALS)
def test_a_context_is_used(name):
    """Catches a condition that reaches nothing."""
    model, batch, context = case(name, torch.float64)
    one = model.loss(batch, context=context, generator=seeded())
    other = context.flip(0) if not context.is_floating_point() else context + 1.0
    assert not torch.equal(one, model.loss(batch, context=other, generator=seeded()))


@EVERY
def test_fit_trains_it(name):
    """Catches a model that no loop can train; a conditional one meets (batch, context)."""
    model, batch, context = case(name, torch.float32)
    before = [p.detach().clone() for p in model.parameters()]
    each = batch if context is None else (batch, context)
    records = list(fit(model, [each] * 2, lr=1e-3, progress=False))
    assert len(records) == 2
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert any(moved)


@EVERY
def test_all_tensors_follow_the_model(name):
    """Catches a tensor that stays behind on the first device: a table, a source, a target."""
    model, _, _ = case(name, torch.float64)
    assert loose_tensors(model.to("meta")) == []


def _doubled(x):
    """Return a tensor, or a dataclass or named tuple of them, with numbers in double precision."""
    if is_dataclass(x) and not isinstance(x, type):
        return replace(x, **{f.name: _doubled(getattr(x, f.name)) for f in fields(x)})
    if isinstance(x, tuple):
        return type(x)(*map(_doubled, x))
    if isinstance(x, Tensor) and x.is_complex():
        return x.to(torch.complex128)
    return x.double() if isinstance(x, Tensor) and x.is_floating_point() else x


@EVERY
def test_double_makes_it_double(name):
    """Catches a source or a table that keeps the precision it was built with."""
    model, batch, context = case(name, torch.float32)
    torch.set_default_dtype(torch.float32)
    model = model.double()
    cast = [_doubled(x) for x in (batch, context)]
    assert model.loss(cast[0], context=cast[1]).dtype == torch.float64
    sample = model.sample(5 if context is None else len(context), context=cast[1])
    assert not sample.is_floating_point() or sample.dtype == torch.float64


def test_the_control_of_loose_tensors():
    """The control: a tensor in a tuple of a module stays behind, and is found."""

    class Hides(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(2, 2)
            self.kept = (torch.zeros(2),)

    assert loose_tensors(Hides().to("meta")) == [".kept[0]"]
    with pytest.raises(AssertionError, match="past the generator"), NothingGlobal():
        torch.rand(1)


def _exports(wanted):
    for family in FAMILIES:
        module = importlib.import_module(f"gentoolkit.{family}")
        for name, thing in vars(module).items():
            here = getattr(thing, "__module__", "").startswith(module.__name__)
            if here and inspect.isclass(thing) and not inspect.isabstract(thing) and wanted(thing):
                yield f"{family}.{name}", thing


def test_every_exported_model_is_among_the_cases():
    """Catches a new model that no law looks at."""
    tested = {type(case(name, torch.float64)[0]) for name in [*MODELS, *CONDITIONALS]}

    def is_model(thing):
        return issubclass(thing, nn.Module) and {"loss", "sample"} <= set(dir(thing))

    missing = [name for name, thing in _exports(is_model) if thing not in tested]
    assert missing == []


def test_every_exported_step_is_among_the_cases():
    """Catches a new step that no law looks at."""
    from gentoolkit.core import Step

    tested = {type(make(torch.float64)[0]) for make in STEPS.values()}
    missing = [
        name for name, thing in _exports(lambda t: issubclass(t, Step)) if thing not in tested
    ]
    assert missing == []


@pytest.mark.parametrize("name", STEPS)
def test_steps_draw_by_the_generator_alone(name):
    """Catches any draw from the global state: with a generator, nothing else may be asked."""
    step, x = STEPS[name](torch.float64)
    with NothingGlobal():
        y, _ = step.push(x, seeded())
        step.pull(y, seeded())


@pytest.mark.parametrize("name", DENSITIES)
def test_densities_draw_by_the_generator_alone(name):
    """Catches a density whose sample asks the global state."""
    density = DENSITIES[name]()
    with NothingGlobal():
        one = density.sample(9, generator=seeded())
    assert torch.equal(one, density.sample(9, generator=seeded()))
