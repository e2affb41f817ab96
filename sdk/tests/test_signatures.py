"""The arguments of Azure ML SDK v1's methods: ours take each one by its name, and in Azure's order.

The names are those of azureml-core 1.61. Those of 1.0.57 (2019) are the first of them, in the same order, but where
``OLDER`` says otherwise.
"""

import inspect
from importlib import import_module

import pytest

AZURE = {
    "workspace.Workspace": {
        "__init__": "subscription_id resource_group workspace_name auth sku tags",
        "create": (
            "name auth subscription_id resource_group location create_resource_group sku tags friendly_name "
            "storage_account key_vault app_insights container_registry adb_workspace "
            "primary_user_assigned_identity cmk_keyvault resource_cmk_uri hbi_workspace "
            "default_cpu_compute_target default_gpu_compute_target private_endpoint_config "
            "private_endpoint_auto_approval exist_ok show_output user_assigned_identity_for_cmk_encryption "
            "system_datastores_auth_mode v1_legacy_mode"
        ),
        "get": "name auth subscription_id resource_group location cloud id",
        "list": "subscription_id auth resource_group",
        "from_config": "path auth",
        "write_config": "path file_name",
        "get_details": "",
        "delete": "delete_dependent_resources no_wait",
        "get_default_datastore": "",
        "set_default_datastore": "name",
        "get_run": "run_id",
        "update": (
            "friendly_name description tags image_build_compute service_managed_resources_settings "
            "primary_user_assigned_identity allow_public_access_when_behind_vnet v1_legacy_mode"
        ),
    },
    "experiment.Experiment": {
        "__init__": "workspace name",
        "submit": "config tags",
        "start_logging": "",
        "get_runs": "type tags properties include_children",
        "list": "workspace experiment_name view_type tags",
        "delete": "workspace experiment_id",
        "archive": "",
        "reactivate": "new_name",
        "refresh": "",
        "tag": "key value",
        "set_tags": "tags",
        "remove_tags": "tags",
    },
    "run.Run": {
        "__init__": "experiment run_id outputs",
        "get_context": "allow_offline used_for_context_manager",
        "get_submitted_run": "",
        "get": "workspace run_id",
        "list": "experiment type tags properties status include_children",
        "get_status": "",
        "get_details": "",
        "get_details_with_logs": "",
        "get_detailed_status": "",
        "wait_for_completion": "show_output wait_post_processing raise_on_error",
        "cancel": "",
        "complete": "",
        "fail": "error_details error_code",
        "start": "",
        "flush": "timeout_seconds",
        "clean": "",
        "log": "name value description step",
        "log_list": "name value description",
        "log_row": "name description",
        "log_table": "name value description",
        "log_image": "name path plot description",
        "log_confusion_matrix": "name value description",
        "log_accuracy_table": "name value description",
        "log_residuals": "name value description",
        "log_predictions": "name value description",
        "get_metrics": "name recursive run_type populate",
        "get_file_names": "",
        "upload_file": "name path_or_stream datastore_name",
        "upload_files": "names paths return_artifacts timeout_seconds datastore_name",
        "upload_folder": "name path datastore_name",
        "download_file": "name output_file_path",
        "download_files": "prefix output_directory output_paths batch_size append_prefix timeout_seconds",
        "get_all_logs": "destination",
        "tag": "key value",
        "set_tags": "tags",
        "get_tags": "",
        "remove_tags": "tags",
        "add_properties": "properties",
        "get_properties": "",
        "get_children": "recursive tags properties type status",
        "child_run": "name run_id outputs",
        "create_children": "count tag_key tag_values",
        "submit_child": "config tags",
        "register_model": (
            "model_name model_path tags properties model_framework model_framework_version description datasets "
            "sample_input_dataset sample_output_dataset resource_configuration"
        ),
        "restore_snapshot": "snapshot_id path",
        "get_snapshot_id": "",
        "get_environment": "",
    },
    "model.Model": {
        "__init__": "workspace name id tags properties version run_id model_framework expand",
        "register": (
            "workspace model_path model_name tags properties description datasets model_framework "
            "model_framework_version child_paths sample_input_dataset sample_output_dataset "
            "resource_configuration"
        ),
        "list": "workspace name tags properties run_id latest dataset_id expand page_count model_framework",
        "download": "target_dir exist_ok exists_ok",
        "get_model_path": "model_name version",
        "delete": "",
        "add_tags": "tags",
        "remove_tags": "tags",
        "add_properties": "properties",
        "update": "tags description sample_input_dataset sample_output_dataset resource_configuration",
        "update_tags_properties": "add_tags remove_tags add_properties",
        "serialize": "",
        "deserialize": "workspace model_payload",
    },
    "environment.Environment": {
        "__init__": "name",
        "register": "workspace",
        "get": "workspace name version label",
        "list": "workspace",
        "clone": "new_name",
        "from_pip_requirements": "name file_path pip_version",
        "from_conda_specification": "name file_path",
        "from_existing_conda_environment": "name conda_environment_name",
        "from_docker_image": "name image container_registry conda_specification pip_requirements",
        "save_to_directory": "path overwrite",
        "load_from_directory": "path",
    },
    "conda_dependencies.CondaDependencies": {
        "__init__": "conda_dependencies_file_path",
        "create": "pip_indexurl pip_packages conda_packages python_version pin_sdk_version",
        "merge_requirements": "requirements",
        "add_channel": "channel",
        "remove_channel": "channel",
        "add_conda_package": "conda_package",
        "remove_conda_package": "conda_package",
        "add_pip_package": "pip_package",
        "remove_pip_package": "pip_package",
        "set_pip_requirements": "pip_requirements",
        "set_python_version": "version",
        "set_pip_index_url": "index_url",
        "set_pip_option": "pip_option",
        "remove_pip_option": "pip_option",
        "add_tensorflow_pip_package": "core_type version",
        "add_tensorflow_conda_package": "core_type version",
        "add_cntk_package": "core_type",
        "as_dict": "",
        "serialize_to_string": "",
        "save": "path",
        "save_to_file": "base_directory conda_file_path",
    },
    "script_run_config.ScriptRunConfig": {
        "__init__": (
            "source_directory script arguments run_config compute_target environment distributed_job_config "
            "resume_from max_run_duration_seconds command docker_runtime_config"
        ),
    },
    "runconfig.RunConfiguration": {
        "__init__": "script arguments framework communicator conda_dependencies command",
    },
    "runconfig.MpiConfiguration": {
        "__init__": "process_count_per_node node_count",
    },
    "runconfig.TensorflowConfiguration": {
        "__init__": "worker_count parameter_server_count",
    },
    "runconfig.PyTorchConfiguration": {
        "__init__": "communication_backend process_count node_count",
    },
    "compute.ComputeTarget": {
        "create": "workspace name provisioning_configuration",
        "list": "workspace",
        "attach": "workspace name attach_configuration",
        "delete": "",
        "detach": "",
        "get_status": "",
        "refresh_state": "",
        "serialize": "",
        "wait_for_completion": "show_output is_delete_operation",
    },
    "compute.AmlCompute": {
        "provisioning_configuration": (
            "vm_size vm_priority min_nodes max_nodes idle_seconds_before_scaledown admin_username "
            "admin_user_password admin_user_ssh_key vnet_resourcegroup_name vnet_name subnet_name tags "
            "description remote_login_port_public_access identity_type identity_id location "
            "enable_node_public_ip"
        ),
        "supported_vmsizes": "workspace location",
        "get": "",
        "get_status": "",
        "update": "min_nodes max_nodes idle_seconds_before_scaledown",
        "list_nodes": "",
        "refresh_state": "",
        "delete": "",
        "wait_for_completion": "show_output min_node_count timeout_in_minutes is_delete_operation",
        "serialize": "",
    },
    "data_reference.DataReference": {
        "__init__": "datastore data_reference_name path_on_datastore mode path_on_compute overwrite",
        "path": "path data_reference_name",
        "as_mount": "",
        "as_download": "path_on_compute overwrite",
        "as_upload": "path_on_compute overwrite",
        "to_config": "",
    },
    "datastore.Datastore": {
        "get": "workspace datastore_name",
        "get_default": "workspace",
        "set_as_default": "",
        "unregister": "",
        "register_azure_blob_container": (
            "workspace datastore_name container_name account_name sas_token account_key protocol endpoint "
            "overwrite create_if_not_exists skip_validation blob_cache_timeout grant_workspace_access "
            "subscription_id resource_group"
        ),
        "upload": "src_dir target_path overwrite show_progress",
        "upload_files": "files relative_root target_path overwrite show_progress",
        "download": "target_path prefix overwrite show_progress",
        "path": "path data_reference_name",
        "as_mount": "",
        "as_download": "path_on_compute",
        "as_upload": "path_on_compute",
    },
    "runconfig.DataReferenceConfiguration": {
        "__init__": "datastore_name mode path_on_datastore path_on_compute overwrite",
    },
    "runconfig.DockerConfiguration": {
        "__init__": "use_docker shared_volumes arguments shm_size",
    },
}

_ESTIMATOR = (
    "compute_target vm_size vm_priority entry_script script_params use_docker custom_docker_image "
    "image_registry_details user_managed conda_packages pip_packages conda_dependencies_file_path "
    "pip_requirements_file_path conda_dependencies_file pip_requirements_file environment_variables "
    "environment_definition inputs shm_size resume_from max_run_duration_seconds"
)
_MANY_NODES = (
    "node_count process_count_per_node distributed_backend distributed_training use_gpu custom_docker_base_image "
    "source_directory_data_store"
)
_COUNTS = "worker_count parameter_server_count"

# After source_directory an estimator takes its arguments by name alone.
ESTIMATORS = {
    "Estimator": [_ESTIMATOR, _MANY_NODES],
    "TensorFlow": [_ESTIMATOR, _MANY_NODES, _COUNTS, "framework_version"],
    "PyTorch": [_ESTIMATOR, _MANY_NODES, "framework_version"],
    "Chainer": [_ESTIMATOR, _MANY_NODES, "framework_version"],
    "SKLearn": [_ESTIMATOR, "framework_version"],
}

# In 2019 friendly_name came before sku and tags did; nobody can mean both by the seventh place.
OLDER = {("workspace.Workspace", "create"): "name auth subscription_id resource_group location create_resource_group"}


def parameters(place, method):
    """Our names in order, those that a position can give, and whether any other name is taken."""
    module, name = place.rsplit(".", 1)
    found = list(
        inspect.signature(getattr(getattr(import_module("runyard." + module), name), method)).parameters.values()
    )
    public = [each for each in found if each.name not in ("self", "cls") and each.name[0] != "_"]
    named = [each.name for each in public if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
    placed = [each.name for each in public if each.kind == each.POSITIONAL_OR_KEYWORD]
    return named, placed, any(each.kind == each.VAR_KEYWORD for each in found)


METHODS = [(place, method) for place, methods in AZURE.items() for method in methods]


@pytest.mark.parametrize(("place", "method"), METHODS)
def test_a_method_takes_azures_arguments_by_name(place, method):
    named, _, takes_any = parameters(place, method)
    assert takes_any or set(AZURE[place][method].split()) <= set(named)


@pytest.mark.parametrize(("place", "method"), METHODS)
def test_a_method_takes_azures_arguments_by_place(place, method):
    _, placed, _ = parameters(place, method)
    for names in (AZURE[place][method], OLDER.get((place, method), "")):
        asked = names.split()
        both = min(len(asked), len(placed))
        assert placed[:both] == asked[:both]


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_an_estimator_takes_azures_arguments_by_name_alone(name):
    named, placed, _ = parameters("estimators." + name, "__init__")
    assert placed == ["source_directory"]
    assert set(" ".join(ESTIMATORS[name]).split()) <= set(named)
