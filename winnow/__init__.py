"""Winnow: score instruction-tuning data with a small proxy language model, keep what is worth training on.

This package knows data, language models and storage. It knows no HTTP and no queue.
"""

__version__ = "0.1.0"
