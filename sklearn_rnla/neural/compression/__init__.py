"""Smaller layers: low-rank weights, fewer neurons, one budget for all."""
