"""A new patient from CT to contours: convert, predict, combine, check, export. Stands above the stages."""
