"""Networks: torch alone, no knowledge of chains."""

from gentoolkit.nets.digit_net import DigitNet
from gentoolkit.nets.egnn import EGNN, VectorGNN
from gentoolkit.nets.made import MADE
from gentoolkit.nets.mlp import MLP, ParallelMLP, TimeEmbedding, TimeMLP
