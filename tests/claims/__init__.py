"""The claims: each paper's statement as an experiment with its seeds and equal budgets."""
