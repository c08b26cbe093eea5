"""``connect``: what the interactive session is given of the command line."""
