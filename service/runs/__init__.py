"""Runs: progress, events, scores, rows and figures of one scoring of a dataset, and a report to send around."""
