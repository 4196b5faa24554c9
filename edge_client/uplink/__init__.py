"""When and how fast this device may use its link to the bucket."""
