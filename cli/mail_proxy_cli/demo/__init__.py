"""``demo``: a whole run on this machine, played."""
