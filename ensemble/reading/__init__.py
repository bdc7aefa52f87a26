"""From prediction folders to what a fit needs of them: one pass, each file read once, in bounded memory."""
