"""Compiled loops. The only package that imports numba, itself imported where it is used.

All release the GIL and run in one thread: threads belong to the row-block engine. Their
first call compiles them, a second or so each, and keeps the result on disk.
"""
