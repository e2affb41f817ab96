"""Scripts that log with MLflow's own client, and the variables that keep that client quiet."""

from pathlib import Path

SCRIPTS = Path(__file__).parent / "mlflow_scripts"
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2"}
