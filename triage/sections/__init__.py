"""The parts of bug reports and of what tools print, one module each: text in, readings out."""
