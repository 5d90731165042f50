"""Tests that need vLLM, in its environment: `make test-vllm`. Everything else never collects this folder (pyproject.toml).

The variables are set here because torch reads one of them when a module of the tests imports it.
"""

from __future__ import annotations

import pytest

from winnow.proxy.vllm_environment import prepare_environment

prepare_environment()
pytest.register_assert_rewrite("tests.golden.cases", "tests.proxy.engine_suite")


def pytest_configure(config: pytest.Config) -> None:
    """What vLLM's own modules warn of is not ours."""
    config.addinivalue_line("filterwarnings", "ignore::FutureWarning:vllm")
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:vllm")
