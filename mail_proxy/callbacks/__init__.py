"""Telling applications what became of their messages."""
