"""Blinded review: contours without their makers' names for an expert, and what the expert's minutes say of each."""
