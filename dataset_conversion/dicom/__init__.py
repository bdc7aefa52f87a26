"""CT series and structure sets: finding, proving, reading, drawing."""
