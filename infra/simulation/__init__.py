"""A fleet on one machine: `andon simulate fleet`, for planning and for tests.

What is real: every device has its own `Updater` (TUF refresh, download, slots, state machine, SQLite),
`HeartbeatWriter` and key, in its own folder; trials load the engine in ONNX Runtime and compare its answers with the
signed self-test; the bucket, the release repository, ingest, the catalog, alarms, and the rollout's evidence and rules
are those of a plant.

What is not: time is virtual, and stands still while somebody works. Trials run in this process instead of a child.
Frames and the engines' answers to them come from a model of a line (`lines`), not from pictures; nothing is captured or
uploaded. A reboot is an orderly end and a start from the folder: cuts at any point are proved elsewhere, with SIGKILL.
All devices share one connection to the bucket, with the cloud's credentials. MLflow and Prefect take no part.
"""
