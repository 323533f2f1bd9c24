"""Files larger than memory, and training over several ranks."""
