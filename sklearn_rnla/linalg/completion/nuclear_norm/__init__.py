"""The nuclear norm: factors that minimise it, and the gap that proves it."""
