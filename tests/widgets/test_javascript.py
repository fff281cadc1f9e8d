"""The widgets' JavaScript, checked with the node that a wheel of the test extra brings."""

import pytest

from tools import javascript


def test_the_unit_tests_in_javascript_pass():
    """Bug: ticks that read alike, bent lines, rounded coordinates: see tests/widgets/*.test.js."""
    assert javascript.unit_tests() == ""


def test_the_bundle_is_what_its_sources_give():
    """Bug: a source that was edited without `make js`, or a bundle that was edited by hand."""
    if not javascript.installed():
        pytest.skip("no node_modules: run python -m tools.javascript install")
    assert javascript.BUNDLE.read_text(encoding="utf-8") == javascript.bundle()


def test_the_types_fit():
    """Bug: a layer that reads a field which Python does not send."""
    if not javascript.installed():
        pytest.skip("no node_modules: run python -m tools.javascript install")
    assert javascript.type_errors() == ""
