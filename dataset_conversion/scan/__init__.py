"""New scans, without structures, into the space of a dataset that was converted before."""
