"""Columns and rows of the data: how they are chosen, and what they span."""
