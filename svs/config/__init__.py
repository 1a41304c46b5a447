"""Parameters, the project folder, and where everything lies."""
