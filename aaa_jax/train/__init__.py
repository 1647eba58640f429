"""Algorithm 1: the loop, one step, evaluation, what it is fed and what it writes."""
