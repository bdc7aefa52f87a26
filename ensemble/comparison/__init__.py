"""Single models and ensembles side by side on cases with references."""
