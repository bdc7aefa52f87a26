"""Where nnUNet_extTrainer points: one module that re-exports the trainers, and nothing else."""
