"""Features: where they come from, how they are made and kept, and how members are joined."""
