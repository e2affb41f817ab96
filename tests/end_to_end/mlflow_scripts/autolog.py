"""A training script that knows nothing of runyard: MLflow logs what scikit-learn does, into the run of the job."""

import mlflow
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

# What of the model's requirements is left to guess is guessed by installing it; that is not the matter here.
mlflow.sklearn.autolog(extra_tags={"by": "autolog"}, log_models=False)
features, kinds = load_iris(return_X_y=True, as_frame=True)
LogisticRegression(max_iter=200, C=0.5).fit(features, kinds)
run = mlflow.last_active_run()
print("logged to", run.info.run_id)
with mlflow.start_run(run_name="another") as second:
    mlflow.log_metric("more", 1.0)
    mlflow.log_text("what a script keeps", "notes.txt")
