"""How like recorded traffic simulated traffic is: the realism of WOSAC, by likelihoods."""

from selfdrive_env.metrics.realism.likelihoods import histogram_likelihood
from selfdrive_env.metrics.realism.score import FEATURES, Feature, realism

__all__ = ["FEATURES", "Feature", "histogram_likelihood", "realism"]
