"""``send``: files into the queue, and what becomes of them."""
