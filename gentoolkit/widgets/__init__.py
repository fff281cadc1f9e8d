"""Interactive pictures for notebooks: players of scenes, knobs that change them, an explorer."""

from gentoolkit.widgets.explorer import LatentExplorer
from gentoolkit.widgets.player import Player, play
from gentoolkit.widgets.tune import Knob, Tuned, tune
