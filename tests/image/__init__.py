"""The image, and what compose.yaml makes of it, tried for real where there is no Docker.

`./run image` builds the Dockerfile with buildah and runs it with runc, which Docker runs containers
with as well. What it cannot show is how Docker reads compose.yaml: services are started here in the
order of their health, with the command, environment and restrictions that the file gives them.
"""
