"""Registers the judge's plugin and the fixture modules, and nothing else."""

pytest_plugins = [
    "poseconform.pytest_plugin.plugin",
    "fixtures.deployed",
    "fixtures.disks",
    "fixtures.figures",
    "fixtures.images",
    "fixtures.inner_run",
    "fixtures.profiles",
    "fixtures.servers",
    "fixtures.tiny_judge",
    "fixtures.tiny_models",
]
