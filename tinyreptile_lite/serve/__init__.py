"""The server for boards: rounds that survive, and boards that come and go."""
