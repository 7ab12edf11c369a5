"""Read-only tools for assistants over the Model Context Protocol, with the rights of one key."""
