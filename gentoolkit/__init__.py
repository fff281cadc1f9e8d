"""Pairs of Markov chains: a small library for an interactive course on generative models."""
