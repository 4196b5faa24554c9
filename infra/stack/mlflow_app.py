"""MLflow's server with all its tables known before the first request: `mlflow server --app-name andon`.

MLflow imports its stores when a request first needs them, and the users' tables with the first search for runs. When a
search for runs and a request for a model come at the same moment, as after a restart under load, one thread configures
the SQLAlchemy mappers while the other is half way through defining them, and every later request for a model is
answered with 500 until the next restart (seen with 3.17.2). Imported here, in one thread, they are complete before the
port opens.
"""

from contextlib import suppress

import mlflow.store.model_registry.sqlalchemy_store
import mlflow.store.tracking.sqlalchemy_store
import sqlalchemy.orm
from mlflow.server.fastapi_app import app

with suppress(ImportError):  # without MLflow's extra `auth` it gives up, after it has defined its tables
    import mlflow.server.auth  # noqa: F401

sqlalchemy.orm.configure_mappers()

__all__ = ["app"]
