"""How runs and their relatives look in a notebook: HTML where it can be shown, text where it cannot.

Nothing here needs a widget library: an updated piece of HTML is what classic Jupyter, JupyterLab and VS Code
all show, and what stays in the saved file. IPython is used where it runs already, and never asked for.
"""
