"""The client's version, as heartbeats report it."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("andon-edge")
except PackageNotFoundError:  # run from the source tree
    VERSION = "0.1.0"
