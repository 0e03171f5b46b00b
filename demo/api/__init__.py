"""The rooms of the stand-in's API: each holds its routes and what they answer."""
