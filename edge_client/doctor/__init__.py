"""What ``andon-edge doctor`` looks at. Each module examines one thing; `examination` runs them all."""
