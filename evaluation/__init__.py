"""How good label maps are: scores per case and structure, tables, and a report for people to read."""
