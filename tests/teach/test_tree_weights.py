"""The shipped tree over quadrants of digits: found, fitting, and as good as the lesson says."""

import torch

from gentoolkit.data import digits
from gentoolkit.flows import flow_tree
from gentoolkit.teach import load_weights
from tools import train_tree


def test_the_tree_fills_in_hidden_quadrants():
    """Catches weights of other cuts: the error of a hidden quadrant against that of the mean."""
    tree = flow_tree(train_tree.FLAT, 16, 4, (48,)).float()
    load_weights(tree, train_tree.NAME)
    data = digits(binary=False)
    train, test = (train_tree.quadrants(x.float()) for x in (data.train, data.test))
    for hidden in range(4):
        with torch.no_grad():
            filled = tree.impute(test, torch.arange(4) != hidden)
        error = (filled - test)[:, hidden].square().mean()
        naive = (train.mean(0) - test)[:, hidden].square().mean()
        assert float(error) < 0.75 * float(naive)


def test_quadrants_are_cut_from_the_image():
    """Catches rows and columns exchanged: the upper right quadrant is the second."""
    image = torch.zeros(1, 8, 8)
    image[0, :4, 4:] = 1.0
    cut = train_tree.quadrants(image.flatten(1))[0].mean(1)
    assert cut.argmax() == 1 and (cut[[0, 2, 3]] == cut[0]).all()


def test_a_short_training_writes_a_file(tmp_path, capsys):
    """Catches a script that no longer runs, or writes what the lesson cannot load."""
    train_tree.main(["--steps", "2", "--width", "4", "--out", str(tmp_path / "a.safetensors")])
    assert "ELBO" in capsys.readouterr().out
    assert (tmp_path / "a.safetensors").exists()
