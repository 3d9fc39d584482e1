"""The rulebook: what lines mean, what evidence is worth, what to do.  Data in `rules/`, typed here."""
