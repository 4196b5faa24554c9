"""Connections to tools that people have: Label Studio. See docs/connect.md."""
