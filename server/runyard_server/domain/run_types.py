"""Types of runs that the server treats in their own way."""

LOGGED_MODEL = "mlflow.model"  # a model that a run logged with MLflow: a run below that one, with files of its own
