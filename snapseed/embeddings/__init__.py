"""Embeddings of texts: how a text is cut into chunks, and how a chunk becomes a vector."""
