"""The report: one page of sections, each made by a module of `sections` and laid out by the template of its name."""
