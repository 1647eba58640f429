"""What to do with a trained network: load, predict, evaluate, export, probe it."""
