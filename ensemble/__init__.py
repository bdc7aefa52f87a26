"""Ensembles of segmentation models: weights fitted to label maps, and predictions made with them (paper, 2.4)."""
