"""What Jupyter itself must know: that pictures have words, in JupyterLab and in pages made of it.

``pip install`` copies it to where Jupyter looks (data-files in pyproject.toml).
"""
