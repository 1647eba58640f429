"""Figures: functions from groups of runs to pictures."""
