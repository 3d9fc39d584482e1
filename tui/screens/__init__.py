"""One module per screen; each draws the facts that the application holds and keeps none of its own."""
