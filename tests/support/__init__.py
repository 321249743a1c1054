"""Shared test support: a loopback upstream that can misbehave, and the real server as a process.

from tests.support.server import dragoman_server
from tests.support.upstream import Upstream, json_response
"""
