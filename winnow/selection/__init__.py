"""Scores in, row numbers out."""
