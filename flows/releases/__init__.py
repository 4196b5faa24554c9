"""The cloud side of releases: keys and the signed repository in the bucket."""
