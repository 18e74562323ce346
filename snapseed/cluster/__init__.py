"""Work on a Dask cluster: the tasks that processes and threads of this machine carry out, on workers of any machine."""
