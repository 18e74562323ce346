"""Embeddings of texts: chunks and their vectors, the queue and the workers that make them, and search among them."""
