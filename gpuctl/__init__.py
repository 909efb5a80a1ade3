"""gpuctl: rent a GPU, generate, bring the result home, leave nothing billing."""

__version__ = "0.1.0"
