"""Variational inference: the posterior replaced by the nearest member of a simple family."""

from gentoolkit.vi.conditional import GaussianMLP, GaussianNoise
from gentoolkit.vi.gaussian import (
    cavi_error,
    cavi_gaussian,
    gaussian_kl,
    gibbs_error,
    gibbs_gaussian,
    reverse_fit,
)
from gentoolkit.vi.hierarchy import HierarchicalVAE
from gentoolkit.vi.linear import PPCA
from gentoolkit.vi.meanfield import MeanFieldGaussian, score_function_loss
from gentoolkit.vi.mixture import MixtureState, cavi_mixture, mixture_evidence
from gentoolkit.vi.parallel import ParallelHierarchies
from gentoolkit.vi.probit import (
    ProbitMoments,
    ProbitRace,
    ProbitState,
    cavi_probit,
    gibbs_probit,
    probit_data,
    probit_moments,
    probit_race,
)
from gentoolkit.vi.vae import VAE
