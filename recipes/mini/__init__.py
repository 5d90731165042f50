"""The recipe of `winnow-mini`: corpus, tokenizer, training, export and model card."""
