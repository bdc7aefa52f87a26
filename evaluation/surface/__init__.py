"""Surfaces of label maps on the corner lattice of the voxel grid, and the distances between them."""
