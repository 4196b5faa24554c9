"""The command line of a device: ``andon-edge``."""
