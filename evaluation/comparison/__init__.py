"""Is one model better than another on these cases, or is it chance: tests, corrections, effect sizes, Table 3."""
