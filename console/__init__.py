"""The web page that people use: labelling by keyboard, and how the loop is doing.

FastAPI, Jinja and plain JavaScript modules, without a build step. It reads and writes through `data` alone; MLflow's
and Prefect's own pages stay theirs and are linked.
"""
