"""Registers the judge's plugin and the fixture modules, and nothing else."""

pytest_plugins = [
    "poseconform.pytest_plugin.plugin",
    "fixtures.deployed",
    "fixtures.disks",
    "fixtures.figures",
    "fixtures.images",
    "fixtures.inner_run",
    "fixtures.litert_files",
    "fixtures.mnn_graphs",
    "fixtures.profiles",
    "fixtures.servers",
    "fixtures.tiny_models",  # before the one that imports it: pytest rewrites asserts on import
    "fixtures.tiny_judge",
]
