"""The paper's soft objective: sums, certified optimum, and the paper's own ascent."""
