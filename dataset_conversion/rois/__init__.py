"""Which ROI is which structure."""
