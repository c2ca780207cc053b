"""Displays: plots of fitted estimators, spectra and similarities."""

from .completion_history import CompletionHistoryDisplay
from .eigengap import EigengapDisplay
from .explained_variance import ExplainedVarianceDisplay
from .landmarks import LandmarksDisplay
from .reconstruction_error import ReconstructionErrorDisplay
from .similarity import SimilarityDisplay
from .spectrum import SpectrumDisplay

__all__ = [
    "CompletionHistoryDisplay",
    "EigengapDisplay",
    "ExplainedVarianceDisplay",
    "LandmarksDisplay",
    "ReconstructionErrorDisplay",
    "SimilarityDisplay",
    "SpectrumDisplay",
]
