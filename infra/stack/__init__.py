"""The process stack of one machine: bucket, MLflow, Prefect, serving process and console, supervised, on loopback."""
