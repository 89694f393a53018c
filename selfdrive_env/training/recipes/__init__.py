"""Training in stages, each a run that goes on from the policy of the one before."""
