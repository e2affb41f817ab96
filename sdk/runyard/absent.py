"""The names of Azure ML SDK v1 that runyard does not have: one table, and the one message for all of them.

A name is looked up by its longest beginning, so that one line answers for a whole package.
"""

from typing import Any, Callable, Dict, Iterable, NamedTuple, NoReturn, Optional, Type, TypeVar

from runyard.errors import NotOfferedError

T = TypeVar("T")

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
_PREVIEW = Absence(
    AZURE,
    "the preview of datasets of 2019, with its definitions and profiles",
    "Dataset.Tabular.from_delimited_files(path) makes a table, dataset.register(workspace, name) keeps it, and "
    "dataset.to_pandas_dataframe().describe() gives its profile.",
)
_OTHER_TABLES = Absence(
    PLANNED,
    "other ways to read and write tables",
    "dataset.to_pandas_dataframe() gives the rows to pandas, and Dataset.Tabular.register_pandas_dataframe() keeps what "
    "comes out.",
)
_FILE_CHOICES = Absence(
    PLANNED,
    "mounts in this process, and a choice among a dataset's files",
    "dataset.download() fetches the files here; a pattern in Dataset.File.from_files((datastore, 'folder/*.png')) chooses "
    "among them.",
)
_ENGINE_TABLES = Absence(
    AZURE,
    "tables of Spark, Dask and databases",
    "dataset.to_pandas_dataframe() gives a DataFrame that those libraries take, and a script queries a database itself.",
)
_CACHES = Absence(
    AZURE,
    "caches of data of Azure's clusters",
    "Give the run the dataset with as_mount() or as_download(): a folder of this machine is mounted as it is.",
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
_MLFLOW = Absence(
    PLANNED,
    "MLflow's deployments to Azure",
    "mlflow.set_tracking_uri(ws.get_mlflow_tracking_uri()) is all that MLflow's client needs to track here.",
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
_BUILT_IMAGES = Absence(
    PLANNED,
    "images built of environments",
    "Environment.build(workspace) installs the packages for the scripts of the server's machine; no image is made of them.",
)
_LABELS = Absence(
    PLANNED,
    "labels of environments and wheels that a workspace keeps",
    "Give Environment.get(workspace, name, version=...) the version, and name a wheel by its path on the server or its "
    "address in the packages.",
)
_R = Absence(
    AZURE,
    "environments of R",
    "Install R as a conda package (r-base) and start Rscript in ScriptRunConfig(command=['Rscript', 'train.R']).",
)
_SPARK = Absence(
    AZURE,
    "runs on Spark, HDInsight and Databricks",
    "Run the script on Python alone, or install pyspark as a pip package and let the script start it.",
)
_WIRE = Absence(
    AZURE,
    "objects of Azure's REST interface",
    "Ask the workspace for the object by its name; runyard's own REST interface is described at /api/v1/openapi.json.",
)
_SECRETS = Absence(
    AZURE,
    "secrets of a key vault",
    "Hand a secret over in the run's environment_variables and read it from os.environ.",
)
_LOGINS = Absence(
    AZURE,
    "tokens of Azure's directory",
    "A workspace finds its own token; get_authentication_header() gives the one of a team's server.",
)
_RUN_CONFIG_FILES = Absence(
    PLANNED,
    "run configurations in files",
    "Make the RunConfiguration in Python; Environment.save_to_directory(path) keeps its environment in files.",
)
_RUN_TYPES = Absence(
    AZURE,
    "types of runs that other packages bring",
    "Run.get(workspace, run_id) gives every run as a Run.",
)
_HDFS = Absence(
    PLANNED,
    "datastores of HDFS",
    "Attach a mounted folder of the server's machine with Datastore.register_folder(workspace, name, path).",
)
_LATER_STORES = Absence(
    PLANNED,
    "datastores in clouds",
    "Attach a folder with Datastore.register_folder(workspace, name, path), or copy the data to the default datastore with "
    "workspace.get_default_datastore().upload(...).",
)
_USAGE = Absence(
    AZURE,
    "quotas and identities of an Azure subscription",
    "runyard compute list shows what the machine has and what is in use.",
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
    "azureml.dataprep": _DATA_PREPARATION,
    "azureml.explain": _EXPLANATIONS,
    "azureml.interpret": _EXPLANATIONS,
    "azureml.contrib.explain": _EXPLANATIONS,
    "azureml.contrib.interpret": _EXPLANATIONS,
    "azureml.contrib.fairness": _EXPLANATIONS,
    "azureml.opendatasets": _OPEN_DATASETS,
    "azureml.contrib.opendatasets": _OPEN_DATASETS,
    "azureml.contrib.mlflow": _MLFLOW,
    "azureml.contrib.notebook.NotebookRunnerStep": _PIPELINES,
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
    "azureml.core.ComputeTarget.deserialize": _WIRE,
    "azureml.core.Dataset.archive": _PREVIEW,
    "azureml.core.Dataset.auto_read_files": _PREVIEW,
    "azureml.core.Dataset.compare_profiles": _PREVIEW,
    "azureml.core.Dataset.create_snapshot": _PREVIEW,
    "azureml.core.Dataset.definition": _PREVIEW,
    "azureml.core.Dataset.definition_version": _PREVIEW,
    "azureml.core.Dataset.delete_snapshot": _PREVIEW,
    "azureml.core.Dataset.deprecate": _PREVIEW,
    "azureml.core.Dataset.diff": _PREVIEW,
    "azureml.core.Dataset.from_binary_files": _PREVIEW,
    "azureml.core.Dataset.from_delimited_files": _PREVIEW,
    "azureml.core.Dataset.from_excel_files": _PREVIEW,
    "azureml.core.Dataset.from_json_files": _PREVIEW,
    "azureml.core.Dataset.from_pandas_dataframe": _PREVIEW,
    "azureml.core.Dataset.from_parquet_files": _PREVIEW,
    "azureml.core.Dataset.from_sql_query": _PREVIEW,
    "azureml.core.Dataset.generate_profile": _PREVIEW,
    "azureml.core.Dataset.get_all_snapshots": _PREVIEW,
    "azureml.core.Dataset.get_definition": _PREVIEW,
    "azureml.core.Dataset.get_definitions": _PREVIEW,
    "azureml.core.Dataset.get_profile": _PREVIEW,
    "azureml.core.Dataset.get_snapshot": _PREVIEW,
    "azureml.core.Dataset.head": _PREVIEW,
    "azureml.core.Dataset.is_visible": _PREVIEW,
    "azureml.core.Dataset.reactivate": _PREVIEW,
    "azureml.core.Dataset.register": _PREVIEW,
    "azureml.core.Dataset.sample": _PREVIEW,
    "azureml.core.Dataset.state": _PREVIEW,
    "azureml.core.Dataset.to_pandas_dataframe": _PREVIEW,
    "azureml.core.Dataset.to_spark_dataframe": _PREVIEW,
    "azureml.core.Dataset.update": _PREVIEW,
    "azureml.core.Dataset.update_definition": _PREVIEW,
    "azureml.core.Datastore.register_hdfs": _HDFS,
    "azureml.core.Environment.add_private_pip_wheel": _LABELS,
    "azureml.core.Environment.from_docker_build_context": _BUILT_IMAGES,
    "azureml.core.Environment.get_image_details": _BUILT_IMAGES,
    "azureml.core.Environment.label": _LABELS,
    "azureml.core.Experiment.from_directory": _CLOUD_RESOURCES,
    "azureml.core.Experiment.get_docs_url": _CLOUD_RESOURCES,
    "azureml.core.Model.get_sas_urls": _SERVING,
    "azureml.core.Model.print_configuration": _SERVING,
    "azureml.core.Run.add_type_provider": _RUN_TYPES,
    "azureml.core.Run.get_secret": _SECRETS,
    "azureml.core.Run.get_secrets": _SECRETS,
    "azureml.core.Workspace.add_private_endpoint": _CLOUD_RESOURCES,
    "azureml.core.Workspace.delete_connection": _CLOUD_RESOURCES,
    "azureml.core.Workspace.delete_private_endpoint_connection": _CLOUD_RESOURCES,
    "azureml.core.Workspace.diagnose_workspace": _CLOUD_RESOURCES,
    "azureml.core.Workspace.discovery_url": _WIRE,
    "azureml.core.Workspace.get_connection": _CLOUD_RESOURCES,
    "azureml.core.Workspace.get_default_compute_target": _CLOUD_RESOURCES,
    "azureml.core.Workspace.linked_services": _CLOUD_RESOURCES,
    "azureml.core.Workspace.list_connections": _CLOUD_RESOURCES,
    "azureml.core.Workspace.list_keys": _CLOUD_RESOURCES,
    "azureml.core.Workspace.private_endpoints": _CLOUD_RESOURCES,
    "azureml.core.Workspace.service_context": _WIRE,
    "azureml.core.Workspace.set_connection": _CLOUD_RESOURCES,
    "azureml.core.Workspace.setup": _WIRE,
    "azureml.core.Workspace.update_dependencies": _CLOUD_RESOURCES,
    "azureml.core.authentication.AbstractAuthentication.get_token": _LOGINS,
    "azureml.core.authentication.AbstractAuthentication.signed_session": _LOGINS,
    "azureml.core.authentication.ArmTokenAuthentication": _LOGINS,
    "azureml.core.authentication.Audience": _LOGINS,
    "azureml.core.authentication.AzureMLTokenAuthentication": _LOGINS,
    "azureml.core.compute.AmlCompute.add_identity": _USAGE,
    "azureml.core.compute.AmlCompute.list_quotas": _USAGE,
    "azureml.core.compute.AmlCompute.list_usages": _USAGE,
    "azureml.core.compute.AmlCompute.remove_identity": _USAGE,
    "azureml.core.compute.AmlCompute.update_quotas": _USAGE,
    "azureml.core.compute.KustoCompute": _ENGINES,
    "azureml.core.compute.adla": _ENGINES,
    "azureml.core.compute.batch": _ENGINES,
    "azureml.core.compute.computeinstance": _ENGINES,
    "azureml.core.compute.databricks": _ENGINES,
    "azureml.core.compute.datafactory": _ENGINES,
    "azureml.core.compute.hdinsight": _ENGINES,
    "azureml.core.compute.kusto": _ENGINES,
    "azureml.core.compute.synapse": _ENGINES,
    "azureml.core.databricks": _SPARK,
    "azureml.core.environment.DockerBuildContext": _BUILT_IMAGES,
    "azureml.core.environment.DockerEnvironment": _BUILT_IMAGES,
    "azureml.core.environment.DockerImageDetails": _BUILT_IMAGES,
    "azureml.core.environment.DockerImagePlatform": _BUILT_IMAGES,
    "azureml.core.environment.EnvironmentReference": _LABELS,
    "azureml.core.environment.RCranPackage": _R,
    "azureml.core.environment.RGitHubPackage": _R,
    "azureml.core.environment.RSection": _R,
    "azureml.core.environment.SparkEnvironment": _SPARK,
    "azureml.core.environment.SparkPackage": _SPARK,
    "azureml.core.linked_service": _CLOUD_RESOURCES,
    "azureml.core.model.ModelPackage": _SERVING,
    "azureml.core.private_endpoint": _CLOUD_RESOURCES,
    "azureml.core.profile": _SERVING,
    "azureml.core.resource_configuration": _SERVING,
    "azureml.core.runconfig.HdiConfiguration": _SPARK,
    "azureml.core.runconfig.RunConfiguration.delete": _RUN_CONFIG_FILES,
    "azureml.core.runconfig.RunConfiguration.load": _RUN_CONFIG_FILES,
    "azureml.core.runconfig.RunConfiguration.save": _RUN_CONFIG_FILES,
    "azureml.core.runconfig.SparkConfiguration": _SPARK,
    "azureml.core.runconfig.SparkPackage": _SPARK,
    "azureml.data.dataset_consumption_config.DatasetConsumptionConfig.as_hdfs": _SPARK,
    "azureml.data.FileDataset.as_cache": _CACHES,
    "azureml.data.FileDataset.as_hdfs": _SPARK,
    "azureml.data.FileDataset.file_metadata": _FILE_CHOICES,
    "azureml.data.FileDataset.filter": _FILE_CHOICES,
    "azureml.data.FileDataset.hydrate": _CACHES,
    "azureml.data.FileDataset.mount": _FILE_CHOICES,
    "azureml.data.FileDataset.random_split": _FILE_CHOICES,
    "azureml.data.FileDataset.skip": _FILE_CHOICES,
    "azureml.data.FileDataset.take": _FILE_CHOICES,
    "azureml.data.FileDataset.take_sample": _FILE_CHOICES,
    "azureml.data.OutputFileDatasetConfig.read_delimited_files": _OTHER_TABLES,
    "azureml.data.OutputFileDatasetConfig.read_parquet_files": _OTHER_TABLES,
    "azureml.data.TabularDataset.download": _OTHER_TABLES,
    "azureml.data.TabularDataset.filter": _OTHER_TABLES,
    "azureml.data.TabularDataset.get_profile": _PREVIEW,
    "azureml.data.TabularDataset.get_profile_runs": _PREVIEW,
    "azureml.data.TabularDataset.mount": _OTHER_TABLES,
    "azureml.data.TabularDataset.submit_profile_run": _PREVIEW,
    "azureml.data.TabularDataset.to_csv_files": _OTHER_TABLES,
    "azureml.data.TabularDataset.to_dask_dataframe": _ENGINE_TABLES,
    "azureml.data.TabularDataset.to_parquet_files": _OTHER_TABLES,
    "azureml.data.TabularDataset.to_spark_dataframe": _ENGINE_TABLES,
    "azureml.data.abstract_dataset.AbstractDataset.data_changed_time": _FILE_CHOICES,
    "azureml.data.azure_data_lake_datastore": _LATER_STORES,
    "azureml.data.context_managers": _FILE_CHOICES,
    "azureml.data.datacache": _CACHES,
    "azureml.data.datacache_consumption_config": _CACHES,
    "azureml.data.datacache_singularity_settings": _CACHES,
    "azureml.data.dataset_action_run": _PREVIEW,
    "azureml.data.dataset_definition": _PREVIEW,
    "azureml.data.dataset_error_handling": _PREVIEW,
    "azureml.data.dataset_factory.DataType.to_stream": _OTHER_TABLES,
    "azureml.data.dataset_factory.TabularDatasetFactory.from_sql_query": _ENGINE_TABLES,
    "azureml.data.dataset_factory.TabularDatasetFactory.register_dask_dataframe": _ENGINE_TABLES,
    "azureml.data.dataset_factory.TabularDatasetFactory.register_spark_dataframe": _ENGINE_TABLES,
    "azureml.data.dataset_profile": _PREVIEW,
    "azureml.data.dataset_profile_run": _PREVIEW,
    "azureml.data.dataset_profile_run_config": _PREVIEW,
    "azureml.data.dataset_snapshot": _PREVIEW,
    "azureml.data.dataset_type_definitions.FileEncoding": _PREVIEW,
    "azureml.data.dataset_type_definitions.FileType": _PREVIEW,
    "azureml.data.dataset_type_definitions.HistogramCompareMethod": _PREVIEW,
    "azureml.data.dataset_type_definitions.SkipLinesBehavior": _PREVIEW,
    "azureml.data.hdfs_datastore": _HDFS,
    "azureml.data.output_dataset_config.HDFSOutputDatasetConfig": _OTHER_TABLES,
    "azureml.data.output_dataset_config.LinkFileOutputDatasetConfig": _OTHER_TABLES,
    "azureml.data.output_dataset_config.LinkTabularOutputDatasetConfig": _OTHER_TABLES,
    "azureml.data.output_dataset_config.MountOptions": _OTHER_TABLES,
    "azureml.data.output_dataset_config.OutputTabularDatasetConfig": _OTHER_TABLES,
    "azureml.data.output_dataset_config.RegistrationConfiguration": _OTHER_TABLES,
    "azureml.data.output_dataset_config.TransformationMixin": _OTHER_TABLES,
    "azureml.data.output_dataset_config.UploadOptions": _OTHER_TABLES,
    "azureml.data.sql_data_reference": _DATABASES,
    "azureml.data.stored_procedure_parameter": _DATABASES,
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


def answering(*owners: str) -> Callable[[Type[T]], Type[T]]:
    """Makes a class answer for the members of Azure's classes ``owners`` that the table knows and it has not itself."""

    def fill(cls: Type[T]) -> Type[T]:
        for name in TABLE:
            owner, _, member = name.rpartition(".")
            if owner in owners and not hasattr(cls, member):
                setattr(cls, member, Absent(owner, member))
        return cls

    return fill


class Absent:
    """Stands in a class where Azure's has a member that ours has not: asking for it raises NotOfferedError.

    Args:
        owner: the class's name in Azure's package, such as "azureml.core.Workspace".
        name: of the member, which the table has.
    """

    def __init__(self, owner: str, name: str) -> None:
        self._owner = owner
        self._name = name

    def __get__(self, instance: Any, cls: Optional[type] = None) -> NoReturn:
        raise NotOfferedError(message("{}.{}".format(self._owner, self._name)))
