"""Changes to valid documents, each with knowledge of one format: pure functions of bytes and a random generator."""
