"""The wire format: frames, sessions, and the links that carry them."""
