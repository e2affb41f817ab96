"""The names of Azure ML SDK v1 that runyard does not have: one table, and the one message for all of them.

A name is looked up by its longest beginning, so that one line answers for a whole package.
"""

from typing import Any, Dict, Iterable, NamedTuple, NoReturn, Optional

from runyard.errors import NotOfferedError

PLANNED = "planned"
AZURE = "an Azure service"


class Absence(NamedTuple):
    """Why a name is not there.

    Attributes:
        kind: PLANNED, or AZURE for what belongs to Azure's cloud and is not replaced.
        what: the thing that the name belongs to.
        instead: what does the same here, as a sentence.
    """

    kind: str
    what: str
    instead: str


_TUNING = Absence(
    PLANNED,
    "tuning hyperparameters",
    "Submit one run for each choice of parameters in a loop and compare what run.get_metrics() gives.",
)
_SERVING = Absence(
    PLANNED,
    "deploying models as web services",
    "Load the registered model from Model.get_model_path(name) in a program of your own.",
)
_IMAGES = Absence(
    PLANNED,
    "images of models and their services",
    "Register the model; Model.get_model_path(name) gives its files to a program of your own.",
)
_TABLES = Absence(
    PLANNED,
    "datasets as tables",
    "Dataset.File.from_files((datastore, path)).as_mount() or .as_download() gives a script the files, which pandas reads.",
)
_REGISTERED_DATASETS = Absence(
    PLANNED,
    "datasets that a workspace keeps by name",
    "Name the place each time: Dataset.File.from_files((datastore, path)).",
)
_PIPELINES = Absence(
    AZURE,
    "pipelines of Azure ML",
    "Submit the steps as runs, one after another: run.wait_for_completion(), then the next Experiment.submit().",
)
_DATA_PREPARATION = Absence(
    AZURE,
    "data preparation",
    "Read and change tables with pandas, and upload what comes out with datastore.upload().",
)
_EXPLANATIONS = Absence(
    AZURE,
    "explanations of models",
    "Use the open package interpret-community or shap in the script, and keep its results with run.upload_file().",
)
_OPEN_DATASETS = Absence(
    AZURE,
    "Azure's open datasets",
    "Fetch the files from their source once and upload them with datastore.upload().",
)
_AUTOML = Absence(
    AZURE,
    "automated machine learning",
    "Train with a library that searches models itself, such as FLAML or auto-sklearn, in a script.",
)
_TENSORBOARD = Absence(
    PLANNED,
    "TensorBoard beside runs",
    "run.download_files('logs') fetches event files that 'tensorboard --logdir logs' shows; metrics are on the run's page.",
)
_MLFLOW = Absence(
    PLANNED,
    "MLflow's tracking interface",
    "Log with run.log() and its relatives; they are on the run's page.",
)
_NOTEBOOK_RUNS = Absence(
    PLANNED,
    "notebooks as entry scripts",
    "Convert the notebook with 'jupyter nbconvert --to script' and submit the .py file.",
)
_MACHINES = Absence(
    PLANNED,
    "machines and clusters attached from elsewhere",
    "Use 'local', or a cluster made with ComputeTarget.create(ws, name, AmlCompute.provisioning_configuration(...)).",
)
_ENGINES = Absence(
    AZURE,
    "compute of Azure's other services",
    "Use 'local', or a cluster made with ComputeTarget.create(ws, name, AmlCompute.provisioning_configuration(...)).",
)
_AHEAD = Absence(
    PLANNED,
    "building an environment before its first run",
    "Submit a run in it: it is built once, and every later run with the same packages takes what is there.",
)
_MONITORING = Absence(
    AZURE,
    "monitoring of data drift",
    "Compare the statistics of two data sets in a script and log them with run.log().",
)
_REINFORCEMENT = Absence(
    AZURE,
    "managed reinforcement learning",
    "Submit a script that uses Ray RLlib itself.",
)
_CLOUD_RESOURCES = Absence(
    AZURE,
    "resources of an Azure subscription",
    "A workspace here is a folder of this machine, or a team's server: there is nothing else to manage.",
)
_DATABASES = Absence(
    AZURE,
    "databases as datastores",
    "Query the database in the script, and hand the password over in environment_variables.",
)

TABLE: Dict[str, Absence] = {
    "azureml.automl": _AUTOML,
    "azureml.train.automl": _AUTOML,
    "azureml.train.hyperdrive": _TUNING,
    "azureml.pipeline": _PIPELINES,
    "azureml.data.datapath.DataPathComputeBinding": _PIPELINES,
    "azureml.data.OutputFileDatasetConfig.as_input": _PIPELINES,
    "azureml.core.Webservice": _SERVING,
    "azureml.core.webservice": _SERVING,
    "azureml.core.model.InferenceConfig": _SERVING,
    "azureml.core.Model.deploy": _SERVING,
    "azureml.core.Model.package": _SERVING,
    "azureml.core.Model.profile": _SERVING,
    "azureml.core.Workspace.webservices": _SERVING,
    "azureml.core.compute.AksCompute": _SERVING,
    "azureml.core.Image": _IMAGES,
    "azureml.core.image": _IMAGES,
    "azureml.core.Workspace.images": _IMAGES,
    "azureml.core.Dataset": _TABLES,  # its members; the class itself is there
    "azureml.data.TabularDataset": _TABLES,
    "azureml.data.tabular_dataset": _TABLES,
    "azureml.data.dataset_factory.TabularDatasetFactory": _TABLES,
    "azureml.data.dataset_factory.DataType": _TABLES,
    "azureml.data.dataset_type_definitions": _TABLES,
    "azureml.data.dataset_action_run": _TABLES,
    "azureml.data.dataset_definition": _TABLES,
    "azureml.exceptions.DatasetTimestampMissingError": _TABLES,
    "azureml.core.Dataset.get": _REGISTERED_DATASETS,
    "azureml.core.Dataset.get_all": _REGISTERED_DATASETS,
    "azureml.core.Dataset.get_by_id": _REGISTERED_DATASETS,
    "azureml.core.Dataset.get_by_name": _REGISTERED_DATASETS,
    "azureml.core.Dataset.register": _REGISTERED_DATASETS,
    "azureml.core.Workspace.datasets": _REGISTERED_DATASETS,
    "azureml.data.FileDataset.partition_keys": _TABLES,
    "azureml.data.FileDataset.register": _REGISTERED_DATASETS,
    "azureml.data.FileDataset.unregister_all_versions": _REGISTERED_DATASETS,
    "azureml.data.OutputFileDatasetConfig.register_on_complete": _REGISTERED_DATASETS,
    "azureml.dataprep": _DATA_PREPARATION,
    "azureml.explain": _EXPLANATIONS,
    "azureml.interpret": _EXPLANATIONS,
    "azureml.contrib.explain": _EXPLANATIONS,
    "azureml.contrib.interpret": _EXPLANATIONS,
    "azureml.contrib.fairness": _EXPLANATIONS,
    "azureml.opendatasets": _OPEN_DATASETS,
    "azureml.contrib.opendatasets": _OPEN_DATASETS,
    "azureml.tensorboard": _TENSORBOARD,
    "azureml.contrib.tensorboard": _TENSORBOARD,
    "azureml.mlflow": _MLFLOW,
    "azureml.contrib.mlflow": _MLFLOW,
    "azureml.core.Workspace.get_mlflow_tracking_uri": _MLFLOW,
    "azureml.contrib.notebook": _NOTEBOOK_RUNS,
    "azureml.contrib.train": _REINFORCEMENT,
    "azureml.datadrift": _MONITORING,
    "azureml.contrib.datadrift": _MONITORING,
    "azureml.monitoring": _MONITORING,
    "azureml.core.compute.RemoteCompute": _MACHINES,
    "azureml.core.compute.remote": _MACHINES,
    "azureml.core.compute.DsvmCompute": _MACHINES,
    "azureml.core.compute.dsvm": _MACHINES,
    "azureml.core.compute.KubernetesCompute": _MACHINES,
    "azureml.core.compute.kubernetescompute": _MACHINES,
    "azureml.contrib.core": _MACHINES,
    "azureml.core.compute.aks": _SERVING,
    "azureml.core.compute.AdlaCompute": _ENGINES,
    "azureml.core.compute.BatchCompute": _ENGINES,
    "azureml.core.compute.ComputeInstance": _ENGINES,
    "azureml.core.compute.DatabricksCompute": _ENGINES,
    "azureml.core.compute.DataFactoryCompute": _ENGINES,
    "azureml.core.compute.HDInsightCompute": _ENGINES,
    "azureml.core.compute.SynapseCompute": _ENGINES,
    "azureml.core.Environment.build": _AHEAD,
    "azureml.core.Environment.build_local": _AHEAD,
    "azureml.core.environment.ImageBuildDetails": _AHEAD,
    "azureml.core.Keyvault": _CLOUD_RESOURCES,
    "azureml.core.keyvault": _CLOUD_RESOURCES,
    "azureml.core.LinkedService": _CLOUD_RESOURCES,
    "azureml.core.PrivateEndPoint": _CLOUD_RESOURCES,
    "azureml.core.Workspace.get_default_keyvault": _CLOUD_RESOURCES,
    "azureml.core.Workspace.sync_keys": _CLOUD_RESOURCES,
    "azureml.data.azure_sql_database_datastore": _DATABASES,
    "azureml.data.azure_my_sql_datastore": _DATABASES,
    "azureml.data.azure_postgre_sql_datastore": _DATABASES,
    "azureml.data.dbfs_datastore": _ENGINES,
}


def absence(name: str) -> Optional[Absence]:
    """Why Azure's ``name`` (dotted, from ``azureml``) is not there; None where the table says nothing of it."""
    parts = name.split(".")
    for count in range(len(parts), 1, -1):
        found = TABLE.get(".".join(parts[:count]))
        if found is not None:
            return found
    return None


def message(name: str, there: Iterable[str] = ()) -> str:
    """What a person who asks for ``name`` is told: whether it is planned or Azure's, and what to use.

    Args:
        there: names that its module does have, for a name that the table does not know.
    """
    found = absence(name)
    if found is None:
        known = ", ".join(sorted(there))
        return "{} is not a name that runyard answers or plans to answer{}.".format(
            name, "; {} has {}".format(name.rsplit(".", 1)[0], known) if known else ""
        )
    if found.kind == PLANNED:
        return "{} is not there yet ({}: planned for a later version of runyard). {}".format(
            name, found.what, found.instead
        )
    return "{} is not there ({}: an Azure service that runyard does not replace). {}".format(
        name, found.what, found.instead
    )


class Absent:
    """Stands in a class where Azure's has a member that ours has not: asking for it raises NotOfferedError.

    Args:
        owner: the class's name in Azure's package, such as "azureml.core.Workspace"; the table has the member.
    """

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._name = ""

    def __set_name__(self, cls: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, cls: Optional[type] = None) -> NoReturn:
        raise NotOfferedError(message("{}.{}".format(self._owner, self._name)))
