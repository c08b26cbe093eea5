"""The domain's values: frozen dataclasses and enums, standard library only."""
