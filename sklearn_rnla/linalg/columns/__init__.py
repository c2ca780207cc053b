"""Columns and rows of the data itself: how they are chosen, and what they span."""
