"""The server: its process, its loops, and their end."""
