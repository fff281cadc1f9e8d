"""The shipped flows of two crescents: fitting, and telling what lesson 14 says of them."""

import pytest
import torch
from torch import Tensor, nn

from gentoolkit.teach import load_weights
from tools.train_stochastic import BUDGETS, NAME, SEEDS, STEPS, crescents, main, model, trained


@pytest.fixture(autouse=True)
def single_precision():
    """The models are of float32, in which the lesson runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def zoo(single_precision) -> nn.ModuleDict:
    models = nn.ModuleDict()
    for seed in SEEDS:
        for budget in BUDGETS:
            models[f"flow_{budget}_{seed}"] = model(crescents(), False)
        models[f"mixed_{STEPS}_{seed}"] = model(crescents(), True)
    about = load_weights(models, NAME)
    assert about["target"] == "two crescents"
    return models


def off(x: Tensor) -> float:
    """Share of points farther than four deviations from every bump; 0.0001 of exact samples."""
    return float((torch.cdist(x, crescents().means).min(1).values > 1.0).float().mean())


@pytest.mark.parametrize("seed", SEEDS)
def test_training_thins_the_bridge_and_random_layers_cut_it(zoo, seed):
    """Catches weights in another order: the shares are 6 to 13, 2 to 3, .5 to .8 and .1 per cent.

    Each bound lies several standard deviations of 10,000 draws away from the next share.
    """
    generator = torch.Generator().manual_seed(1)
    names = [f"flow_{budget}_{seed}" for budget in BUDGETS] + [f"mixed_{STEPS}_{seed}"]
    shares = [off(zoo[name].sample(10_000, generator=generator)) for name in names]
    assert shares[0] > 0.05 > shares[1] > 0.012 > shares[2] > 0.003 > shares[3]


def test_the_script_trains_and_writes(tmp_path, monkeypatch):
    """Catches a script that broke since the file was made; two steps teach nothing."""
    monkeypatch.setattr("tools.train_stochastic.SEEDS", (0,))
    monkeypatch.setattr("tools.train_stochastic.BUDGETS", (2,))
    main(["--steps", "2", "--out", str(tmp_path / "crescents.safetensors")])
    assert (tmp_path / "crescents.safetensors").stat().st_size > 10_000
    made = trained(crescents(), False, 2, 0)
    assert made.sample(3).shape == (3, 2)
