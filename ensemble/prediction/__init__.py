"""From the models' probabilities to label maps, uncertainty and disagreement, block by block."""
