"""Other inference servers, each in a virtual environment of its own, with the benchmark's engine behind it."""
