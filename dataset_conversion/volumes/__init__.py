"""Cases stored as volumes: images, masks, label maps and their names."""
