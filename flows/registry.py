"""The registry as the flows see it: what a challenger leaves in MLflow, and how an engine is got back from there.

A registered model is an inspection. A version is one engine, with the run that made it: parameters, metrics, the
snapshot as data set input, gate report, plan table, self-test and out-of-fold predictions.

1. An idempotency key names a challenger. `find` returns its version if there is one, and finishes a registration that
   was killed after its run was complete; `begin` marks what an earlier, killed try left as KILLED. So one key gives
   one version.
2. The engine in MLflow is the engine, to the byte: checked before it is logged and after it is fetched.
3. Nothing here moves an alias by itself.
"""

import hashlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_client.contract.engine_metadata import EngineMetadata
from edge_client.contract.errors import BadEngine
from flows import environment
from flows.registry_api import ModelVersion, RegistryApi, RegistryError, RegistryUnavailable
from flows.tags import Tag
from flows.variants import FOLDER, Variant, VariantFile, tag_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from mlflow import MlflowClient
    from numpy.typing import NDArray

ENGINE_FILE = "model.onnx"  # the name mlflow.onnx gives the file
SELFTEST_FILE = "selftest.npz"
OUT_OF_FOLD_FILE = "out_of_fold.parquet"
GATE_REPORT_FILE = "gate_report.html"
PLANS_FILE = "plans.csv"
DECISION_FILE = "decision.json"
VERSION_FILE = "version.json"  # what the model version will say; logged last, it makes the run complete
_COLUMN = "probability "  # of a class, in the table of out-of-fold predictions
_EXAMPLE_SIDE = 64  # pixels: MLflow keeps it as JSON
_DIGEST_CHARACTERS = 36  # width of the column in MLflow's database


@dataclass(frozen=True, slots=True, kw_only=True)
class OutOfFold:
    """Out-of-fold predictions of a challenger's recipe on its own training samples.

    Attributes:
        ids: [n] sample ids.
        classes: K class names, in column order.
        probabilities: float32 [n, K].
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: "NDArray[np.float32]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChallengerRecord:
    """Everything that is kept of one challenger.

    Attributes:
        snapshot_rows: The snapshot's table without images, for MLflow's data set input.
        snapshot_source: Where the snapshot is, ``s3://…``.
        plans: One row a plan that was compared, with its score.
        decision: What the gate said, in full, as JSON values.
        variants: Other files of the same model.
        tags: Of the model version, beside those that follow from the engine.
    """

    inspection: str
    key: str
    engine: bytes
    selftest: bytes
    metadata: EngineMetadata
    snapshot_id: str
    snapshot_source: str
    snapshot_rows: "pd.DataFrame"
    params: Mapping[str, str | int | float | bool]
    metrics: Mapping[str, float]
    plans: "pd.DataFrame"
    out_of_fold: OutOfFold
    gate_report: str
    decision: Mapping[str, Any]
    description: str
    tags: Mapping[str, str]
    variants: tuple[VariantFile, ...] = ()


class Registry:
    """MLflow's registry and runs, for the inspections of one installation."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet; `url` is the MLflow server's."""
        self.api = RegistryApi(url)

    # Challengers

    def find(self, inspection: str, key: str) -> ModelVersion | None:
        """Return the version of a challenger, finishing its registration if that was interrupted (rule 1)."""
        known = self.api.versions(inspection, tag=(Tag.IDEMPOTENCY, key))
        if known:
            return known[-1]
        with self._client() as client:
            for run in self._runs(client, inspection, f"tags.`{Tag.IDEMPOTENCY}` = '{key}'"):
                if run.data.tags.get(Tag.COMPLETE):
                    described = json.loads(self._artifact(f"runs:/{run.info.run_id}/{VERSION_FILE}"))
                    return self._register(client, inspection, run.info.run_id, described)
        return None

    def begin(self, inspection: str, key: str, *, name: str, tags: Mapping[str, str]) -> str:
        """Start the run of a challenger and return its id. One retrain of an inspection runs at a time.

        So runs that are unfinished now were left by one that was killed: they are ended as KILLED.
        """
        with self._client() as client:
            for run in self._runs(client, inspection, "attributes.status = 'RUNNING'"):
                if Tag.IDEMPOTENCY in run.data.tags:  # others are people's own
                    client.set_terminated(run.info.run_id, status="KILLED")
            experiment = self._experiment(client, inspection)
            run = client.create_run(experiment, run_name=name, tags={**tags, Tag.IDEMPOTENCY: key})
            return str(run.info.run_id)

    def fail(self, run_id: str, reason: str) -> None:
        """End a run that came to nothing, with the reason."""
        with self._client() as client:
            client.set_tag(run_id, "mlflow.note.content", f"Failed: {reason}")
            client.set_terminated(run_id, status="FAILED")

    def log_challenger(self, run_id: str, record: ChallengerRecord) -> ModelVersion:
        """Keep a challenger in its run and register its version.

        Raises:
            BadEngine: MLflow would not keep the engine to the byte.
            RegistryUnavailable: MLflow is away; the run stays open, and the next try with the same key starts over.
        """
        with self._client() as client:
            uri, model_id = _log(client, run_id, record)
            tags = {
                Tag.IDEMPOTENCY: record.key,
                Tag.ENGINE_ID: record.metadata.engine_id,
                Tag.ENGINE_SHA256: _sha256(record.engine),
                Tag.ENGINE_BYTES: str(len(record.engine)),
                Tag.SNAPSHOT: record.snapshot_id,
                **record.tags,
            }
            if record.variants:
                tags[Tag.VARIANTS] = tag_of(file.described for file in record.variants)
            described = {
                "source": uri,
                "model_id": model_id,
                "description": record.description,
                "tags": {str(name): value for name, value in tags.items()},
            }
            client.log_dict(run_id, described, VERSION_FILE)
            client.set_tag(run_id, Tag.COMPLETE, "yes")
            return self._register(client, record.inspection, run_id, described)

    # What comes back

    def engine_bytes(self, version: ModelVersion) -> bytes:
        """Return a version's engine, checked against the digest that was registered.

        Raises:
            BadEngine: It is not the file that was registered.
        """
        name = f"models:/{version.inspection}/{version.number}/{ENGINE_FILE}"
        engine = self._artifact(name)
        expected, found = version.tags.get(Tag.ENGINE_SHA256), _sha256(engine)
        if found != expected:
            raise BadEngine(
                f"{version.inspection} version {version.number}: the engine in MLflow has SHA-256 {found}, "
                f"its tag {Tag.ENGINE_SHA256} says {expected}; do not release it, retrain instead"
            )
        return engine

    def variant_file(self, version: ModelVersion, variant: Variant) -> VariantFile:
        """Return another file of a version's model, checked against the digest that was registered.

        Raises:
            BadEngine: It is not the file that was registered.
        """
        engine = self._artifact(f"runs:/{version.run_id}/{variant.engine_file}")
        if (found := _sha256(engine)) != variant.engine_sha256:
            raise BadEngine(
                f"{version.inspection} version {version.number}: the variant {variant.engine_id} in MLflow has SHA-256 "
                f"{found}, its tag {Tag.VARIANTS} says {variant.engine_sha256}; do not release it, retrain instead"
            )
        selftest = self._artifact(f"runs:/{version.run_id}/{variant.selftest_file}")
        return VariantFile(described=variant, engine=engine, selftest=selftest)

    def selftest_bytes(self, version: ModelVersion) -> bytes:
        """Return a version's self-test."""
        return self._artifact(f"runs:/{version.run_id}/{SELFTEST_FILE}")

    def params_of(self, version: ModelVersion) -> dict[str, str]:
        """Return the parameters of the run that made a version."""
        with self._client() as client:
            return dict(client.get_run(version.run_id).data.params)

    def metrics_of(self, version: ModelVersion) -> dict[str, float]:
        """Return the metrics of the run that made a version."""
        with self._client() as client:
            return dict(client.get_run(version.run_id).data.metrics)

    def gate_report(self, version: ModelVersion) -> str:
        """Return a version's gate report, HTML."""
        return self._artifact(f"runs:/{version.run_id}/{GATE_REPORT_FILE}").decode()

    def decision_of(self, version: ModelVersion) -> dict[str, Any]:
        """Return what the gate said about a version, as it was logged."""
        decision: dict[str, Any] = json.loads(self._artifact(f"runs:/{version.run_id}/{DECISION_FILE}"))
        return decision

    def oof_of(self, version: ModelVersion) -> OutOfFold:
        """Return a version's out-of-fold predictions."""
        import pyarrow.parquet as pq

        table = pq.read_table(io.BytesIO(self._artifact(f"runs:/{version.run_id}/{OUT_OF_FOLD_FILE}")))
        classes = tuple(n.removeprefix(_COLUMN) for n in table.column_names if n.startswith(_COLUMN))
        return OutOfFold(
            ids=tuple(table["sample_id"].to_pylist()),
            classes=classes,
            probabilities=_columns(table, classes),
        )

    # The shell

    @contextmanager
    def _client(self) -> Iterator["MlflowClient"]:
        environment.quiet()
        from mlflow import MlflowClient, set_registry_uri, set_tracking_uri
        from mlflow.exceptions import MlflowException

        set_tracking_uri(self.api.url)  # mlflow.onnx.log_model takes it from here only
        set_registry_uri(self.api.url)
        try:
            yield MlflowClient(self.api.url, self.api.url)
        except MlflowException as error:
            away = error.error_code in ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")
            kind = RegistryUnavailable if away else RegistryError
            raise kind(f"MLflow at {self.api.url}: {error}") from error

    def _artifact(self, uri: str) -> bytes:
        with self._client(), tempfile.TemporaryDirectory(prefix="andon-") as folder:
            import mlflow

            path = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=folder)
            return Path(path).read_bytes()

    def _experiment(self, client: "MlflowClient", inspection: str) -> str:
        from mlflow.exceptions import MlflowException

        found = client.get_experiment_by_name(inspection)
        if found is None:
            try:
                return str(client.create_experiment(inspection))
            except MlflowException as error:
                found = client.get_experiment_by_name(inspection)  # somebody else was first
                if found is None:
                    raise RegistryError(f"MLflow cannot make the experiment {inspection!r}: {error}") from error
        if found.lifecycle_stage != "active":
            raise RegistryError(
                f"MLflow's experiment {inspection!r} is deleted; restore it (`mlflow experiments restore`)"
            )
        return str(found.experiment_id)

    def _runs(self, client: "MlflowClient", inspection: str, wanted: str) -> list[Any]:
        experiment = client.get_experiment_by_name(inspection)
        if experiment is None:
            return []
        return list(client.search_runs([experiment.experiment_id], wanted))

    def _register(
        self, client: "MlflowClient", inspection: str, run_id: str, described: Mapping[str, Any]
    ) -> ModelVersion:
        self.api.ensure_model(inspection, f"Engines of the inspection {inspection!r}; one version is one engine.")
        made = client.create_model_version(inspection, run_id=run_id, **described)
        return self.api.version(inspection, str(made.version))


def _log(client: "MlflowClient", run_id: str, record: ChallengerRecord) -> tuple[str, str]:
    """Log everything of a challenger but its version. Returns the logged model's URI and id."""
    import mlflow
    import mlflow.data
    import mlflow.onnx
    import numpy as np
    import onnx
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    model = onnx.load_model_from_string(record.engine)
    if model.SerializeToString() != record.engine:
        raise BadEngine(
            f"{record.inspection}: engine {record.metadata.engine_id} changes when ONNX reads and writes it, so MLflow "
            "could not keep it to the byte; export it with onnx's own serialisation"
        )
    width = len(record.metadata.classes)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), "image")]),
        outputs=Schema(
            [
                TensorSpec(np.dtype(np.float32), (-1, width), "probabilities"),
                TensorSpec(np.dtype(np.float32), (-1,), "anomaly"),
                TensorSpec(np.dtype(np.float32), (-1, -1, -1), "anomaly_map"),
                TensorSpec(np.dtype(np.float32), (-1, -1), "embedding"),
            ]
        ),
    )
    dataset = mlflow.data.from_pandas(
        record.snapshot_rows,
        source=record.snapshot_source,
        targets="label" if "label" in record.snapshot_rows else None,
        name=f"snapshot {record.snapshot_id[:12]}",
        digest=record.snapshot_id[:_DIGEST_CHARACTERS],
    )
    with mlflow.start_run(run_id=run_id), tempfile.TemporaryDirectory(prefix="andon-") as folder:
        mlflow.log_input(dataset, context="training")
        mlflow.log_params(dict(record.params))
        mlflow.log_metrics(dict(record.metrics))
        _write_artifacts(Path(folder), record)
        mlflow.log_artifacts(folder)
        logged = mlflow.onnx.log_model(
            model,
            name="engine",
            signature=signature,
            metadata={"andon": record.metadata.to_json()},
            save_as_external_data=False,
            input_example=_example(record),
            pip_requirements=serving_requirements(),  # inferring them starts a process that loads the model
        )
    return str(logged.model_uri), str(logged.model_id)


def serving_requirements() -> list[str]:
    """What an environment needs that serves a version with MLflow's own tools: what the gate judged with."""
    return [f"{name}=={metadata.version(name)}" for name in ("numpy", "onnx", "onnxruntime")]


def _example(record: ChallengerRecord) -> dict[str, Any]:
    """A frame of the self-test, small: a request that MLflow's page shows and its tools can send."""
    from edge_client.contract.selftest import SelfTest

    frame = SelfTest.unpack(record.selftest).frames[:1]
    step = max(1, -(-max(frame.shape[1:3]) // _EXAMPLE_SIDE))
    return {"image": frame[:, ::step, ::step]}


def _write_artifacts(folder: Path, record: ChallengerRecord) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    oof = record.out_of_fold
    columns = {_COLUMN + name: pa.array(oof.probabilities[:, k]) for k, name in enumerate(oof.classes)}
    table = pa.table({"sample_id": pa.array(oof.ids, pa.string()), **columns})
    pq.write_table(table, folder / OUT_OF_FOLD_FILE)
    (folder / GATE_REPORT_FILE).write_text(record.gate_report, encoding="utf-8")
    (folder / SELFTEST_FILE).write_bytes(record.selftest)
    (folder / DECISION_FILE).write_text(json.dumps(record.decision, indent=2, allow_nan=False), encoding="utf-8")
    record.plans.to_csv(folder / PLANS_FILE, index=False)
    for file in record.variants:
        (folder / FOLDER).mkdir(exist_ok=True)
        (folder / file.described.engine_file).write_bytes(file.engine)
        (folder / file.described.selftest_file).write_bytes(file.selftest)


def _columns(table: Any, names: tuple[str, ...]) -> "NDArray[np.float32]":
    import numpy as np

    return np.stack([table[_COLUMN + name].to_numpy() for name in names], axis=1).astype(np.float32)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
