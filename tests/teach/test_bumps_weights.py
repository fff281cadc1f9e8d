"""The three networks for nine bumps: fitting, good, and made again by their script."""

import torch

from gentoolkit.diffusion import DDIM, Betas, Denoiser, PredictsNoise, sub_grid
from gentoolkit.metrics import energy_distance
from gentoolkit.teach import load_weights
from tools.train_bumps import NAME, bumps, main, networks


def test_each_network_draws_the_nine_bumps():
    """Catches weights of another schedule or output, and networks that are one and the same."""
    nets = networks().requires_grad_(False)
    about = load_weights(nets, NAME)
    assert about["reads"] == "PredictsNoise"
    schedule, law, ends = Betas(torch.linspace(1e-4, 0.02, 1000)), bumps(), []
    noise = torch.randn(1000, 2)
    for net in nets:
        end = DDIM().sample(Denoiser(net, schedule, PredictsNoise()), noise, sub_grid(50, of=1000))
        assert float(energy_distance(end, law.sample(1000))) < 0.03
        near = (end[:, None] - law.means).norm(dim=-1).amin(1) < 0.6
        assert float(near.double().mean()) > 0.85
        ends.append(end)
    assert float((ends[0] - ends[1]).abs().max()) > 0.05


def test_the_script_writes_the_same_file_again(tmp_path):
    """Catches a draw past the seed."""
    files = []
    for seed in ("1", "1", "2"):
        path = tmp_path / "nets.safetensors"
        main(["--steps", "2", "--width", "8", "--seed", seed, "--out", str(path)])
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]
