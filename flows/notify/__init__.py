"""People are told by webhook or mail when something wants them. See docs/connect.md."""
