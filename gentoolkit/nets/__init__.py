"""Networks: torch alone, no knowledge of chains."""

from gentoolkit.nets.mlp import MLP, TimeEmbedding, TimeMLP

__all__ = ["MLP", "TimeEmbedding", "TimeMLP"]
