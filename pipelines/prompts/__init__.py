"""Text to embeddings."""
