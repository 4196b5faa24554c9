"""Signed releases on the device: believed, fetched, tried, swapped in, watched, and left again when they misbehave."""
