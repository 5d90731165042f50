"""Datasets: bytes that were posted, once per owner, and what reading them found."""
