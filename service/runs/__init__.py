"""Runs: progress, events, scores and figures of one scoring of a dataset."""
