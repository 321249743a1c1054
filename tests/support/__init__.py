"""What tests of several rooms share: a loopback upstream that can misbehave, and the real server.

from tests.support.server import dragoman_server
from tests.support.upstream import Upstream, json_answer
"""
