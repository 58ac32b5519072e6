"""The package as its users get it: built, and installed where nothing of the source is."""
