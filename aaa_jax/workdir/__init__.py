"""Everything on disk below --workdir: lines, checkpoints, snapshots."""
