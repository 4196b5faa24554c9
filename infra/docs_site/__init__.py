"""The documentation as a site. `commands` writes the pages of the command lines, `hooks` is what MkDocs calls."""
