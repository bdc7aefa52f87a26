"""What fitted weights are worth on patients they were not fitted to."""
