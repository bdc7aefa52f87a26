"""From planning CTs with contours to an nnU-Net raw dataset, and the transforms that lead back."""
