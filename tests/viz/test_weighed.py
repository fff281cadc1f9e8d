"""Paths of any family with their account: it must end at log w, wherever they are drawn."""

import numpy as np
import torch

from gentoolkit import Categorical, Chain, FunctionKernel, Gaussian
from gentoolkit.flows import AffineCoupling
from gentoolkit.targets import eight_gaussians
from gentoolkit.viz.weighed import weighed_paths
from tests.viz.kinds import unpack
from tests.viz.refused import refused

ALT = "Points run to eight bumps; beside them what each has paid, and a histogram."


def wide():
    return Gaussian(torch.zeros(1, 2), 2.0)


def read(scene, panel, kind, key):
    (layer,) = [x for x in scene.spec["panels"][panel]["layers"] if x["kind"] == kind]
    return unpack(scene.spec["arrays"], scene.buffer, layer[key])


def test_the_account_runs_from_the_source_to_the_log_weight():
    """Bug: a log-ratio with the other sign, the source left out, or rows in falling order."""
    target = eight_gaussians()
    torch.manual_seed(0)
    steps = [
        AffineCoupling(2),
        FunctionKernel(lambda x: Gaussian(x, 0.5), lambda y: Gaussian(0.9 * y, 0.4)),
    ]
    with torch.no_grad():
        for p in steps[0].parameters():
            p.add_(0.2 * torch.randn_like(p))
        path = Chain(wide(), steps).push(50)
    scene = weighed_paths(path, target, log_z=target.log_z, alt=ALT)
    account = read(scene, 1, "accounts", "y")  # (B, T+1)
    near = {"rtol": 1e-5, "atol": 1e-4}
    np.testing.assert_allclose(account[:, -1], path.log_weight(target), **near)
    start = target.log_prob(path.states[-1]) - path.log_source
    np.testing.assert_allclose(account[:, 0], start, **near)
    np.testing.assert_allclose(np.diff(account).T, path.log_ratio, rtol=1e-4, atol=1e-3)
    assert scene.frames == 3 and "Step 2 of 2: ELBO" in scene.spec["notes"][-1]


def test_a_chain_without_steps_stands_still_and_has_its_weights():
    """Bug: one frame, which has nothing to slide over, or weights of zero."""
    target = eight_gaussians()
    torch.manual_seed(0)
    path = Chain(wide()).push(40)
    scene = weighed_paths(path, target, log_z=target.log_z, alt=ALT)
    account = read(scene, 1, "accounts", "y")
    assert account.shape == (40, 2) and scene.spec["notes"][0].startswith("No step: ELBO")
    np.testing.assert_allclose(account[:, 1], path.log_weight(target), rtol=1e-5, atol=1e-4)


def test_states_of_a_lattice_are_drawn_where_they_are_placed():
    """Bug: numbers of cells taken for coordinates, or a density of the plane asked of cells."""
    law = Categorical.from_probs(torch.full((1, 4), 0.25))
    chain = Chain(
        law,
        [
            FunctionKernel(
                lambda x: Categorical.from_probs(torch.full((len(x), 4), 0.25)),
                lambda y: Categorical.from_probs(torch.full((len(y), 4), 0.25)),
            )
        ],
    )
    corners = torch.tensor([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    torch.manual_seed(0)
    path = chain.push(30)

    def drawn(**options):
        return weighed_paths(path, lambda x: 0.0 * x, log_z=0.0, alt=ALT, **options)

    scene = drawn(place=lambda x: corners[x], behind=eight_gaussians())
    at = read(scene, 0, "points", "xy")
    np.testing.assert_allclose(at[-1], corners[path.states[-1]], atol=1e-3)
    refused(lambda: drawn(behind=eight_gaussians()), "state 0, in the plane, must have shape")


def test_a_weight_that_is_not_finite_is_refused():
    """Bug: a particle of weight zero left out of the picture without a word."""
    torch.manual_seed(0)
    path = Chain(wide()).push(20)
    nowhere = dict(log_z=0.0, alt=ALT, behind=eight_gaussians())
    refused(
        lambda: weighed_paths(path, lambda x: torch.full((len(x),), -torch.inf), **nowhere),
        "accounts of log w must be finite; got 20 NaN",
    )
    refused(
        lambda: weighed_paths(path, eight_gaussians(), log_z=0.0, alt=ALT, span=0.0),
        "span must be positive",
    )
