"""Guided dialogues in place of options: each asks, shows what it understood, and hands back the fields."""
