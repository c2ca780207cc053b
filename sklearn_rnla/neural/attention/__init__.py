"""Attention on landmark tokens."""
