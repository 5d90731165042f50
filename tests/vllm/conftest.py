"""Tests that need vLLM, in its environment: `make test-vllm`. A run without this folder named never collects it.

The variables are set here because torch reads one of them when a module of the tests imports it.
"""

from __future__ import annotations

import pytest

from winnow.proxy.vllm_environment import prepare_environment

prepare_environment()
pytest.register_assert_rewrite("tests.golden.cases", "tests.proxy.engine_suite")


def pytest_configure(config: pytest.Config) -> None:
    """What vLLM and torch warn of in their own code is not ours."""
    for module in ("vllm", "torch"):
        for category in ("DeprecationWarning", "FutureWarning", "UserWarning"):
            config.addinivalue_line("filterwarnings", f"ignore::{category}:{module}")
