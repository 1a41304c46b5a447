"""How code runs: processes and signals, progress, parallel work, files."""
