"""The results published by Boussioux, Ma et al. (2023), as data, and whose name goes with whose."""
