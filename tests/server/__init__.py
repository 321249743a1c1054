"""Tests of the serving path: the real server between real sockets."""
