"""The cases as a whole: patients, splits, remarks and tables."""
