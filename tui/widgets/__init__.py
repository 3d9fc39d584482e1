"""Widgets drawn line by line: only what is in view is ever made."""
