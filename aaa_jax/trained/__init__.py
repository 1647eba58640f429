"""What to do with a trained network: load it, probe it, test it on corrupted images."""
