"""The arithmetic of draws: pure functions from 64 uniform bits per row to values. `Rows` offers each as a method."""
