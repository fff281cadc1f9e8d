"""The files of real data: counts, ranges, parts that share nothing, and the files themselves."""

from hashlib import sha256

import pytest
import torch

from gentoolkit.data import bars, chorales, graphs, letters, mnist, molecules, note, spell, words
from gentoolkit.data.chorales import HOLD, REST, TOKENS
from gentoolkit.data.graphs import graph6
from gentoolkit.data.molecules import SYMBOLS
from gentoolkit.data.real import FOLDER

FILES = {
    "chorales.txt": "5c071d1b69fcc862",
    "graphs.g6": "2bef914382c43940",
    "mnist.xz": "ed51eecd3ecea999",
    "molecules.jsonl": "09d4cc3584c3efa9",
    "words.txt": "39d6ee0a6fde5ea0",
}


def test_the_files_are_those_that_were_checked():
    """Catches a file that was made again from another release, or damaged by a checkout."""
    found = {path.name: path for path in FOLDER.iterdir() if path.name != "LICENSES.md"}
    assert found.keys() == FILES.keys()
    for name, path in found.items():
        assert sha256(path.read_bytes()).hexdigest()[:16] == FILES[name], name
    assert all(f"`{name}`" in (FOLDER / "LICENSES.md").read_text() for name in FILES)
    assert sum(path.stat().st_size for path in found.values()) < 600_000


def test_mnist_is_balanced_and_its_parts_share_no_image():
    """Catches swapped halves of a byte, labels apart from images, and an image in both parts."""
    d = mnist()
    assert d.train.shape == (4000, 784) and d.test.shape == (1000, 784)
    assert torch.bincount(d.train_labels).tolist() == [400] * 10
    assert torch.bincount(d.test_labels).tolist() == [100] * 10
    assert d.train_labels[:10].tolist() == d.test_labels[:10].tolist() == list(range(10))
    assert torch.equal((15 * d.train).round() / 15, d.train)
    assert len(d.train.unique()) == 16 and d.train.min() == 0 and d.train.max() == 1
    assert len(torch.cat((d.train, d.test)).unique(dim=0)) == 5000
    # Swapped neighbours would make a stroke's outline ragged: more change along a row than down.
    x = d.train.reshape(-1, 28, 28)
    along, down = (x[:, :, 1:] - x[:, :, :-1]).abs().mean(), (x[:, 1:] - x[:, :-1]).abs().mean()
    assert 0.8 < float(along / down) < 1.3
    # Centred digits: the mean picture is dark in the middle, empty at the rim.
    assert x.mean(0)[14, 14] > 0.3 and x.mean(0)[0].max() < 0.01
    # The nearest class mean names most digits: the labels belong to the images.
    means = torch.stack([d.train[d.train_labels == k].mean(0) for k in range(10)])
    assert (torch.cdist(d.test, means).argmin(1) == d.test_labels).float().mean() > 0.75
    black = mnist(binary=True)
    assert torch.equal(black.train, (d.train >= 0.5).to(d.train))
    assert torch.equal(black.test_labels, d.test_labels)


def test_words_are_words_and_split_once():
    """Catches a word in both parts, lost words, and letters shifted by one."""
    w = words()
    assert w.train.shape == (4145, 5) and w.test.shape == (500, 5)
    spelled = spell(w.every)
    assert len(set(spelled)) == 4645 and {"hello", "words", "zebra"} <= set(spelled)
    assert torch.equal(letters(spelled), w.every)
    assert torch.equal(words().test, w.test) and not torch.equal(words(seed=1).test, w.test)
    assert len(words(test=0).train) == 4645
    assert spell(torch.tensor([[0, 26, -1]]), blank="?") == ["a??"]


def test_chorales_are_in_their_keys_and_their_parts_share_no_tune():
    """Catches a wrong transposition, a tune in both parts, and bars off the beat."""
    c = chorales()
    assert (len(c.train), len(c.test)) == (252, 37)
    for tune in c.train + c.test:
        assert len(tune.tokens) % 8 == 0 and 0 <= tune.tokens.min() <= tune.tokens.max() < TOKENS
    scale = {"C", "D", "E", "F", "G", "A", "B"}
    for major in (True, False):
        tunes = [t for t in c.train if t.major is major]
        names = [note(int(k))[:-1] for t in tunes for k in t.tokens if k > REST]
        assert sum(name in scale for name in names) / len(names) > 0.93
        ends = [note(int(t.tokens[t.tokens > REST][-1]))[:-1] for t in tunes]
        first, third = ("C", "E") if major else ("A", "C")
        assert sum(e in (first, third, "E", "C#", "G") for e in ends) / len(ends) > 0.9
        assert ends.count(first) / len(ends) > 0.5
    one, two = bars(c.train), bars(c.train, 2)
    assert one.shape == (1203, 8) and two.shape == (1800, 16)
    assert int((two == REST).sum()) == 0 and int((two[:, 0] == HOLD).sum()) == 0
    known = set(map(tuple, two.tolist()))
    assert len(known) == 1800 and not known & set(map(tuple, bars(c.test, 2).tolist()))
    # On the beat: notes begin on crotchets far more often than between them.
    begins = (one != HOLD).float().mean(0)
    assert begins[::2].min() > 2 * begins[1::2].max()


def test_molecules_are_whole():
    """Catches atoms without positions, atoms on each other, and molecules off centre."""
    m = molecules()
    assert len(m.names) == len(set(m.names)) == 148
    assert m.numbers.shape == (148, 14) and m.positions.shape == (148, 14, 3)
    assert (int(m.sizes.min()), int(m.sizes.max())) == (2, 14)
    assert set(m.numbers.unique().tolist()) == {0, *SYMBOLS}
    assert m.positions[m.numbers == 0].abs().max() == 0
    assert m.positions.sum(1).abs().max() < 1e-4
    for x, n in zip(m.positions, m.sizes, strict=True):
        assert 0.7 < float(torch.pdist(x[:n]).min()) < 3.2
    water = m.names.index("H2O")
    assert sorted(m.numbers[water].tolist())[-3:] == [1, 1, 8]


def test_graphs_are_connected_and_all_there():
    """Catches a wrong order of bits, and graphs that are missing or fall apart."""
    for nodes, many in zip(range(1, 8), (1, 1, 2, 6, 21, 112, 853), strict=True):
        g = graphs(nodes)
        assert g.shape == (many, nodes, nodes) and torch.equal(g, g.mT)
        reached = torch.linalg.matrix_power(g + torch.eye(nodes), nodes)
        assert bool((reached > 0).all())
        assert len({graph6([bool(x[i, j]) for j in range(nodes) for i in range(j)], nodes)
                    for x in g}) == many  # fmt: skip
    # Of any two of them, edges or triangles or squares differ for most: few are renamed copies.
    marks = {tuple(torch.linalg.eigvalsh(x.double()).round(decimals=6).tolist()) for x in graphs(6)}
    assert len(marks) == 111  # two of the 112 share a spectrum


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: words(test=-1), "test must be in"),
        (lambda: words(test=4645), "test must be in"),
        (lambda: letters(["abc", "ab"]), "equal length"),
        (lambda: letters(["abC"]), "a..z"),
        (lambda: bars(chorales().test, 0), "at least 1"),
        (lambda: bars(chorales().test, 40), "40 bars"),
        (lambda: note(TOKENS), "0..26"),
        (lambda: note(-1), "0..26"),
        (lambda: graphs(8), "1 to 7"),
    ],
)
def test_what_is_not_there_is_refused(call, said):
    """Catches a wrong request that would be answered with something."""
    with pytest.raises(ValueError, match=said):
        call()
