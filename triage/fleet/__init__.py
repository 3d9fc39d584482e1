"""Many nodes: how they are reached, what they said, and what they testify against each other."""
