"""From a config to a run's objects; from a table of the paper to its runs."""
