"""Predictions back to the scans they were made for, as RTSTRUCT, DICOM SEG or label map, each proved."""
