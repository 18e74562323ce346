"""The page `snapseed report`: what is in a snapshot, drawn in one HTML file that needs nothing else."""
