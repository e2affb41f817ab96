"""Which of MLflow's tests are about what a workspace of runyard has not or declines, and why."""

import re

# Of these tests nothing is asked: what they are about is not there at all.
_ABOUT: tuple[tuple[str, str], ...] = (
    (r"trace|span|otel|assessment", "traces"),
    (r"issue", "issues of traces"),
    (r"evaluation_dataset|dataset_experiment|experiments_rest_tracking|experiments_at_once", "evaluation data sets"),
    (r"scorer|online_scoring", "scorers"),
    (r"secret|endpoint|model_definition|test_list_providers|test_list_models|provider_config|gateway", "gateway"),
    (r"graphql", "MLflow's pages (GraphQL)"),
    (r"promptlab|upload_artifact_handler", "MLflow's pages (prompt lab)"),
    (r"prompt", "prompts"),
    (r"webhook", "web hooks"),
    (r"workspace", "workspaces of MLflow"),
    (
        r"test_create_model_version_with_validation_regex|calls_optimized_impl",
        "MLflow's own server and its store, which the test itself starts",
    ),
)
# These are asked, and fail at what is declined: by a refusal that says so, or because ours is another rule.
_DECLINED: tuple[tuple[str, str], ...] = (
    (
        r"test_create_get_search_experiment|test_artifacts|with_path_source|with_non_local_source|with_file_uri",
        "a place is named (`artifact_location`, or a `source` that is a path or an address elsewhere): refused, no "
        "client says where the server reads or writes",
    ),
    (
        r"test_path_validation|test_get_logged_model_artifact",
        "addresses of MLflow's pages for files (`/get-artifact`, `/ajax-api/...`): 404, a file has one address",
    ),
    (
        r"test_create_and_query_model_version_flow|test_copy_model_version_flow",
        "where a version is downloaded is its `source`, word by word: here it is an address of the version's own, which "
        "stays when its run goes",
    ),
    (r"test_create_model_version_model_id", "a version of a logged model without files: refused, a version has files"),
    (r"test_finalize_logged_model", "a logged model that is READY becomes FAILED: what has ended stays ended"),
)


def reason_of(name: str) -> str | None:
    """Why a test is not asked of our server; None where it is."""
    return _first(_ABOUT, name)


def declined(name: str) -> str | None:
    """Why a test is to fail; None where it is to pass."""
    return _first(_DECLINED, name)


def _first(table: tuple[tuple[str, str], ...], name: str) -> str | None:
    return next((reason for pattern, reason in table if re.search(pattern, name)), None)
