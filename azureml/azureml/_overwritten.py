"""Imported by Microsoft's ``azureml.core`` alone, as one of its plugins: it was installed over this package's files."""

from azureml._beside import refuse_to_be_a_plugin

refuse_to_be_a_plugin()
