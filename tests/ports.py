"""Addresses of this machine for programs to listen on."""

import socket

HELD = []


def free_port(host="127.0.0.1"):
    """One that nobody is given again, in any process, until this one ends.

    Its socket stays bound, without listening, in a way that lets somebody who asks for the port by its number listen
    there. Neither port 0 nor an outgoing connection gets it meanwhile.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, 0))
    HELD.append(held)
    return held.getsockname()[1]
