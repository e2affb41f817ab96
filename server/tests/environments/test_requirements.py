import pytest

from runyard.errors import EnvironmentException
from runyard.protocol.environments import EnvironmentSpec
from runyard_server.environments.requirements import uv_options, wanted


def test_a_package_that_is_only_called_as_azures_is_installed():
    asked = wanted(
        EnvironmentSpec(pip_packages=["azureml-inference-server-http==1.3.4", "azureml_inference_server_http"])
    )
    assert asked.lines == ["azureml-inference-server-http==1.3.4", "azureml_inference_server_http"]
    assert asked.notes == []


def test_azures_own_packages_are_answered_by_runyard():
    asked = wanted(
        EnvironmentSpec(pip_packages=["azureml-sdk==1.0.57", "azureml_core", "six", "runyard"], conda_packages=[])
    )
    assert asked.lines == ["six"]
    assert asked.notes == [
        "azureml-sdk: answered by runyard",
        "azureml-core: answered by runyard",
        "runyard: answered by runyard",
    ]


def test_framework_pip_and_conda_packages_come_together():
    spec = EnvironmentSpec(
        framework="scikit-learn", framework_version="1.5", pip_packages=["six>=1.10"], conda_packages=["numpy=1.26"]
    )
    asked = wanted(spec)
    assert asked.lines == ["scikit-learn==1.5.*", "six>=1.10", "numpy==1.26.*"]
    assert asked.conda_names == {"numpy": "numpy=1.26"}
    assert asked.pythons[0] == "3.13"


def test_the_users_own_pin_takes_the_place_of_the_frameworks():
    asked = wanted(
        EnvironmentSpec(framework="tensorflow", framework_version="2.15", pip_packages=["tensorflow==2.15.0"])
    )
    assert asked.lines == ["tensorflow==2.15.0"]
    assert any("name tensorflow itself, which is taken" in note for note in asked.notes)


def test_a_package_in_both_lists_is_taken_as_pip_has_it():
    asked = wanted(EnvironmentSpec(pip_packages=["numpy==1.26.4"], conda_packages=["numpy=1.24"]))
    assert asked.lines == ["numpy==1.26.4"]


def test_an_old_framework_is_taken_as_of_its_date_and_says_so():
    asked = wanted(EnvironmentSpec(framework="tensorflow", framework_version="1.13"))
    assert asked.exclude_newer == "2019-08-13"
    assert asked.notes == ["TensorFlow 1.13: packages are taken as of 2019-08-13"]


def test_azures_old_python_is_raised_to_the_oldest_that_runs_with_a_note():
    asked = wanted(EnvironmentSpec(conda_packages=["python=3.6.2"], framework="tensorflow", framework_version="1.13"))
    assert asked.pythons == ("3.7",)
    assert any("Python 3.6.2 was asked for; 3.7" in note for note in asked.notes)


@pytest.mark.parametrize("version", ["2.7", "3.4", "three", "3.11.", "3.11; x", "4.0"])
def test_a_python_that_cannot_be_had_is_refused(version):
    with pytest.raises(EnvironmentException, match=r"3\.7 is the oldest that runs here"):
        wanted(EnvironmentSpec(python_version=version))


def test_a_python_that_the_framework_has_no_build_for_is_refused_with_those_it_has():
    with pytest.raises(
        EnvironmentException, match=r"TensorFlow 2\.4 has no build for Python 3\.11\. Allowed: 3\.7, 3\.8\."
    ):
        wanted(EnvironmentSpec(framework="tensorflow", framework_version="2.4", python_version="3.11"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("numpy=1.24", "pip writes '==': 'numpy==1.24'"),
        ("./local.whl", "must be absolute"),
        ("two words", "cannot be read"),
        ("-r other.txt", "is an option"),
        ("-e .", "is an option"),
        ("--index-url https://user:secret@host/simple", "is an option"),
        ("six\nnumpy", "control character"),
    ],
)
def test_a_pip_line_that_cannot_be_served_is_refused(line, says):
    with pytest.raises(EnvironmentException, match=says) as refused:
        wanted(EnvironmentSpec(pip_packages=[line]))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "line",
    [
        "six",
        "Six [x] >= 1.0 ; python_version > '3'",
        "six @ https://host/six-1.0-py3-none-any.whl",
        "/here/six-1.0-py3-none-any.whl",
        "git+https://host/six.git@main#egg=six",
        "six==1.16 --hash=sha256:" + "0" * 64,
        "six  # a comment",
    ],
)
def test_pips_forms_of_a_requirement_pass(line):
    assert wanted(EnvironmentSpec(pip_packages=[line, "  ", "# only a comment"])).lines == [line.partition("  #")[0]]


def test_index_options_become_uvs():
    assert uv_options(
        [
            "-i https://a/simple",
            "--extra-index-url=https://b/?x=1",
            "--extra-index-url https://c/?y=2",
            "--pre",
            "--no-index",
            "-f /wheels",
            " ",
        ]
    ) == [
        "--index-url",
        "https://a/simple",
        "--extra-index-url",
        "https://b/?x=1",
        "--extra-index-url",
        "https://c/?y=2",
        "--prerelease",
        "allow",
        "--no-index",
        "--find-links",
        "/wheels",
    ]


@pytest.mark.parametrize("option", ["--target /etc", "--index-url", "--user", "nonsense", "--no-index now"])
def test_an_option_that_says_nothing_of_where_packages_come_from_is_refused(option):
    with pytest.raises(EnvironmentException, match="Allowed: -i, --index-url"):
        uv_options([option])


def test_an_mpi_run_gets_mpis_programs_whatever_the_frameworks_date():
    found = wanted(EnvironmentSpec(framework="pytorch", framework_version="1.2", mpi=True))
    assert "mpich" in found.lines
    assert (found.exclude_newer, found.undated) == ("2019-10-09", ("mpich",))


def test_an_mpi_of_the_users_own_choice_is_taken():
    found = wanted(EnvironmentSpec(pip_packages=["mpich==5.0.1"], mpi=True))
    assert (found.lines, found.undated) == (["mpich==5.0.1"], ())


def test_chainer_gets_what_its_ranks_speak_through_as_on_azure():
    found = wanted(EnvironmentSpec(framework="chainer", framework_version="5.1.0", mpi=True))
    assert {"mpich", "mpi4py"} <= set(found.lines) & set(found.undated)
    assert "mpi4py" not in wanted(EnvironmentSpec(framework="chainer", framework_version="5.1.0")).lines


def test_a_notebook_gets_what_runs_it_beside_what_its_user_chose():
    assert wanted(EnvironmentSpec(notebook=True)).lines == ["papermill", "ipykernel"]
    found = wanted(EnvironmentSpec(pip_packages=["ipykernel==6.16.2"], notebook=True))
    assert found.lines == ["ipykernel==6.16.2", "papermill"]
    assert any("papermill: the script is a notebook" in note for note in found.notes)


# As of a day


def test_packages_are_taken_as_of_the_day_that_the_spec_names_on_a_python_of_that_day():
    asked = wanted(EnvironmentSpec(conda_packages=["scikit-learn"], packages_as_of="2019-08-13"))
    assert (asked.exclude_newer, asked.date_was_asked, asked.pythons) == ("2019-08-13", True, ("3.7",))
    assert "Packages are taken as of 2019-08-13, as packages_as_of (or RUNYARD_PACKAGES_AS_OF) says" in asked.notes


def test_an_environment_without_packages_has_a_python_of_its_day():
    assert wanted(EnvironmentSpec(packages_as_of="2021-12-01")).pythons == ("3.9", "3.8", "3.7")


def test_without_a_day_nothing_is_dated_and_the_server_chooses_the_python():
    asked = wanted(EnvironmentSpec(pip_packages=["six"]))
    assert (asked.exclude_newer, asked.date_was_asked, asked.pythons) == (None, False, ())


@pytest.mark.parametrize(
    ("given", "counts", "was_asked", "said"),
    [
        ("2019-03-01", "2019-03-01", True, "Packages are taken as of 2019-03-01, as packages_as_of"),
        ("2019-08-13", "2019-08-13", True, "Packages are taken as of 2019-08-13, as packages_as_of"),
        (
            "2020-01-01",
            "2019-08-13",
            False,
            "TensorFlow 1.13: packages are taken as of 2019-08-13; packages_as_of 2020-01-01 is later and changes nothing",
        ),
    ],
)
def test_of_a_frameworks_day_and_ones_own_the_earlier_counts(given, counts, was_asked, said):
    asked = wanted(EnvironmentSpec(framework="tensorflow", framework_version="1.13", packages_as_of=given))
    assert (asked.exclude_newer, asked.date_was_asked, asked.pythons) == (counts, was_asked, ("3.7",))
    assert [note for note in asked.notes if "as of" in note] == [note for note in asked.notes if note.startswith(said)]
    assert len([note for note in asked.notes if "as of" in note]) == 1


def test_a_framework_keeps_its_pythons_those_of_the_day_first():
    asked = wanted(EnvironmentSpec(framework="pytorch", framework_version="1.4", packages_as_of="2020-02-01"))
    assert asked.pythons == ("3.7", "3.8")
    later = wanted(EnvironmentSpec(framework="tensorflow", framework_version="2.15", packages_as_of="2019-08-13"))
    assert later.pythons == ("3.11", "3.10", "3.9")


def test_a_python_that_was_asked_for_stays_and_one_that_is_newer_than_the_day_is_noted():
    azures = wanted(EnvironmentSpec(conda_packages=["python=3.6.2", "scikit-learn"], packages_as_of="2019-08-13"))
    assert azures.pythons == ("3.7",)
    newer = wanted(EnvironmentSpec(python_version="3.11", pip_packages=["six"], packages_as_of="2019-08-13"))
    assert newer.pythons == ("3.11",)
    assert "Python 3.11 is newer than 2019-08-13: packages of that day may have no builds for it" in newer.notes
    assert wanted(EnvironmentSpec(python_version="3", packages_as_of="2019-08-13")).pythons == ("3.7",)


@pytest.mark.parametrize(
    "day", ["yesterday", "2019-13-01", "2019-8-1", "13.08.2019", "2019-08-13T00:00:00Z", "1999-01-01"]
)
def test_what_is_no_day_or_one_before_there_were_packages_is_refused(day):
    with pytest.raises(EnvironmentException, match="is a day such as '2019-08-13'|Give that day or a later one"):
        wanted(EnvironmentSpec(packages_as_of=day))
