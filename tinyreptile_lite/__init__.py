"""A teaching kit for meta-learning on microcontrollers."""
