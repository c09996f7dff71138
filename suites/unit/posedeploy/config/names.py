"""Hypothesis strategy for names of the grammar."""

from __future__ import annotations

from hypothesis import strategies as st

from posedeploy.config.naming import OPTIONS, SHAPE_MODES, DeployConfigName, conflict
from posedeploy.heads import head_words
from posedeploy.runtime import BACKENDS

Shapes = st.SearchStrategy[tuple[int, int]]


def deploy_config_names(shapes: Shapes) -> st.SearchStrategy[DeployConfigName]:
    """Names whose parts go together: with one of the shapes, or with none."""

    def of(backend: str, precisions: tuple[str, ...]) -> st.SearchStrategy[DeployConfigName]:
        return st.builds(
            DeployConfigName,
            variant=st.sampled_from(head_words()),
            backend=st.just(backend),
            precision=st.sampled_from(precisions),
            shape_mode=st.sampled_from(SHAPE_MODES),
            shape=st.none() | shapes,
            option=st.sampled_from(["", *OPTIONS]),
        )

    rows = [of(row.name, tuple(word.value for word in row.precisions)) for row in BACKENDS]
    return st.one_of(rows).filter(lambda name: conflict(name) is None)
