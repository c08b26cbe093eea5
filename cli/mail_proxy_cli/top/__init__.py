"""``top``: what the instance is doing, looked at again and again."""
