"""What all tests share: open data that cannot be had make a test skip, and in CI make it fail."""

import os
import signal

import pytest

from batlab.errors import DatasetUnavailableError

# Plans that tests make are not kept in the user's cache.
os.environ.setdefault("BATLAB_CACHE", "off")


def _skip_or_fail(error: DatasetUnavailableError) -> None:
    if os.environ.get("CI"):
        raise error
    pytest.skip(f"open data not at hand: {error}")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    try:
        return (yield)
    except DatasetUnavailableError as error:
        return _skip_or_fail(error)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    try:
        return (yield)
    except DatasetUnavailableError as error:
        return _skip_or_fail(error)


def pytest_configure(config):
    # Started in the background by a shell, a process ignores Ctrl-C, and so would the tests of it.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
