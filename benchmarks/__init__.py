"""Every figure that the project claims, each beside its peers or its limit in the same run."""
