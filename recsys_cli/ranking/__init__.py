"""Learning the second stage: propensities, trees or DLRM, and the judgement that admits them."""
