"""Interactive pictures for notebooks: a player of scenes and an explorer of latent spaces."""

from gentoolkit.widgets.explorer import LatentExplorer
from gentoolkit.widgets.player import Player, play

__all__ = ["LatentExplorer", "Player", "play"]
