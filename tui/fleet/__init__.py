"""A fleet on the screen: its picture, made in a process of its own and kept, and what watches for the next."""
