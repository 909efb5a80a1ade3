"""Measures gpuctl against what it replaces, as ratios within one run (docs/performance.md)."""
