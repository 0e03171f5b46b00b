"""Journeys without I/O: their steps, and the interpreter that asyncio here and gevent in loadtests drive."""
