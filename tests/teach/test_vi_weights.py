"""The shipped autoencoder and chains: found, fitting, and as good as the lessons say."""

import torch

from gentoolkit.data import mnist
from gentoolkit.teach import load_weights
from gentoolkit.vi import VAE
from tools import train_chains, train_vae


def test_the_autoencoder_describes_new_digits():
    """Catches weights for other pixels: measured -103.6 nats; independent pixels cost 211."""
    model = VAE(784, 16, hidden=(200,)).float()
    about = load_weights(model, "mnist_vae")
    assert about["net"] == "VAE(784, 16, hidden=(200,))"
    with torch.no_grad():
        bound = model.elbo(mnist(binary=True).test[:300].float()).mean()
        assert -110 < bound < -95
        assert model.elbo(1 - mnist(binary=True).test[:300].float()).mean() < -500


def test_shifts_move_images_by_one_pixel_at_most():
    """Catches rows and columns exchanged, and a shift that wraps round."""
    x = torch.zeros(50, 28, 28)
    x[:, 0, 13] = 1
    moved = train_vae.shifted(x.flatten(1), torch.Generator().manual_seed(0)).view(50, 28, 28)
    assert moved[:, 3:].sum() == 0 and moved[:, :, :12].sum() == 0
    assert 0 < moved.sum() < 50  # some images lose the dot over the edge


def test_the_chains_are_those_of_the_lesson():
    """Catches a file of other depths or kinds, and a collapsed run taken for a good one."""
    chains = train_chains.empty()
    load_weights(chains.float(), train_chains.NAME)
    data = train_chains.two_bumps()
    x = data.sample(3 * 4000).float().view(3, 4000, 1)
    floor = data.log_prob(x.flatten(0, 1)).view(3, -1)
    with torch.no_grad():
        gaps = {name: (floor - chain.elbo(x)).mean(1) for name, chain in chains.items()}
    assert 0.25 < gaps["fixed_4"].min() and gaps["fixed_4"].max() < 0.35
    assert gaps["from_noise_4"].max() < 0.15
    assert min(gap.min() for gap in gaps.values()) > 0.0


def test_short_trainings_write_a_file(tmp_path, monkeypatch, capsys):
    """Catches a script that no longer runs, or writes what the lessons cannot load."""
    monkeypatch.setattr(train_chains, "DEPTHS", (1,))
    train_chains.main(["--steps", "2", "--width", "4", "--out", str(tmp_path / "a.safetensors")])
    train_vae.main(["--steps", "2", "--width", "4", "--out", str(tmp_path / "b.safetensors")])
    assert "fixed_1" in capsys.readouterr().out
    assert (tmp_path / "a.safetensors").exists() and (tmp_path / "b.safetensors").exists()
