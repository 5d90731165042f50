"""The one seam to a language model."""
