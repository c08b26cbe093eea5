"""The delivery agent: what goes over the wire, and how the answers are judged."""
