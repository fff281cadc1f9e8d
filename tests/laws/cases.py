"""All cases of the shared laws: each family registers its own in `tests/<family>/cases.py`.

A family's file may hold STEPS, BIJECTIONS, DENSITIES, JOURNEYS, PULLED_JOURNEYS, MODELS and
CONDITIONALS: see `tests/laws/kinds.py` for what an entry is.
"""

from types import ModuleType
from typing import Any

from tests.adversarial import cases as adversarial
from tests.core import cases as core
from tests.diffusion import cases as diffusion
from tests.flows import cases as flows
from tests.gflownet import cases as gflownet
from tests.jumps import cases as jumps
from tests.laws.kinds import Bijections, Conditionals, Densities, Journeys, Models, Steps
from tests.stochastic import cases as stochastic
from tests.targets import cases as targets
from tests.vi import cases as vi

FAMILIES: tuple[ModuleType, ...] = (
    core,
    vi,
    flows,
    stochastic,
    diffusion,
    jumps,
    gflownet,
    adversarial,
    targets,
)


def _all(kind: str) -> dict[str, Any]:
    """Join what every family registers under one name; a name may come once."""
    joined: dict[str, Any] = {}
    for family in FAMILIES:
        entries = getattr(family, kind, {})
        assert not joined.keys() & entries.keys(), f"{family.__name__} repeats a name of {kind}"
        joined |= entries
    return joined


STEPS: Steps = _all("STEPS")
BIJECTIONS: Bijections = _all("BIJECTIONS")
DENSITIES: Densities = _all("DENSITIES")
JOURNEYS: Journeys = _all("JOURNEYS")
PULLED_JOURNEYS: Journeys = _all("PULLED_JOURNEYS")
MODELS: Models = _all("MODELS")
CONDITIONALS: Conditionals = _all("CONDITIONALS")
