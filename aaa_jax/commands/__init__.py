"""What a person types: flags, names of presets, plans and lists, exit codes."""
