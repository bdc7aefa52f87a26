"""What the scores and label maps say beyond their means: plain arithmetic, no drawing and no layout."""
