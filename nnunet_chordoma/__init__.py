"""Segmentation of sacral chordoma and five muscle pairs on planning CT with nnU-Net v2."""

__version__ = "0.1.0"
