"""The composition root: settings in, wired services out. The only place that names concrete classes.

One module a role, so that a process loads only what its role needs.
"""
