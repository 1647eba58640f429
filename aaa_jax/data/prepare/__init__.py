"""Datasets are written once, as TFDS folders."""
