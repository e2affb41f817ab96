"""The import names of Azure ML SDK v1, answered by runyard. Never install it beside Microsoft's packages."""

import os

from azureml._names import answer_for_absent_modules, reexport

answer_for_absent_modules()

if os.environ.get("RUNYARD_URL_MAP"):  # old code fetches from addresses that are gone: docs/old-notebooks.md
    from runyard.url_opener import install

    install()

__getattr__ = reexport(__name__, {"__version__": "runyard.protocol.version:VERSION"})
