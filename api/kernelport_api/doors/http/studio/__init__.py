"""The page that comes with the front door: one speaks, listens and watches the work. It calls public routes alone."""
