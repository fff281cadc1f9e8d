"""Adversarial learning: critics, their losses, and translators that are trained against them."""

from gentoolkit.adversarial.critic import Critic
from gentoolkit.adversarial.domains import (
    CycleGAN,
    DomainCritics,
    ResidualMLP,
    Translators,
    cycle_loss,
    domain_critics,
)
from gentoolkit.adversarial.losses import GanLoss, LeastSquares
