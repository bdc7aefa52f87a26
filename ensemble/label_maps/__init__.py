"""The default objective, the IoU of label maps, and the exact search for its best weights."""
