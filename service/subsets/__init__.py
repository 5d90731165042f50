"""Subsets: the part of a scored dataset worth training on, as bytes, and the manifest that explains it."""
