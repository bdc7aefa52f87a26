"""What each section of the page says; `figures` draws, templates lay out."""
