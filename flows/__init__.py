"""Prefect flows that wire data and training together: ingest, retrain, release, watch.

Each flow is a thin shell round a plain function (`ingest_once`, `retrain_once`, `release_once`, `watch_once`) that
needs no Prefect server. Importing this package turns the telemetry of Prefect and MLflow off, before they are imported.
"""

from flows.environment import quiet

quiet()
