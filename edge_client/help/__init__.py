"""Answers signed requests for help: logs, doctor, restart."""
