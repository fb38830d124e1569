"""Compiled loops over plain arrays; each has its numpy oracle of the same name in `reference`."""
