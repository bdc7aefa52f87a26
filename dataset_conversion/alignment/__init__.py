"""Where a case lies in the dataset: registration, field of view and the transform chain."""
