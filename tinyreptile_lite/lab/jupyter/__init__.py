"""What Jupyter must know: that pictures have words, in JupyterLab and in pages made of it."""
