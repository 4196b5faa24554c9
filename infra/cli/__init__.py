"""`andon`: the command line of the cloud side. One file a group of commands; heavy imports are inside the commands."""
