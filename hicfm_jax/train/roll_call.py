"""The processes of a run find each other before JAX starts, which ends by an abort when one is missing."""

import contextlib
import socket
import time

from hicfm_jax.errors import InputError

_HELLO = "hicfm_jax"


def parse_address(text: str) -> tuple[str, int]:
    """HOST:PORT as (host, port); an IPv6 address stands in brackets.

    Raises:
      InputError: it is anything else.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError(
            f"--coordinator={text} is not HOST:PORT: give the name or address of the machine of process 0 "
            "and a free port of it, for example node01:9876."
        )
    return host.strip("[]"), int(port)


def roll_call(coordinator: str, processes: int, process: int, seconds: float) -> None:
    """Returns on every process once all are there; the port is free again then.

    Args:
      coordinator: HOST:PORT; process 0 listens on the port, the others look for it there.
      processes: how many there are.
      process: which this is, from 0.
      seconds: to wait for the others at most.

    Raises:
      InputError: somebody is missing, two have the same number, they do not agree how many they are, or
        the port is taken.
    """
    _, port = parse_address(coordinator)
    deadline = time.monotonic() + seconds
    if process:
        _report(coordinator, processes, process, deadline)
        return
    try:
        # Over IPv6 and IPv4 alike, where the machine has both.
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", port), family=family, backlog=processes, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"Process 0 cannot listen on port {port} of --coordinator={coordinator} ({error.strerror}): "
            "choose a free one, the same for all processes."
        ) from error
    with server, contextlib.ExitStack() as open_lines:
        try:
            lines = _collect(server, open_lines, coordinator, processes, deadline, seconds)
            answer = "go"
        except InputError as error:
            lines, answer = error.lines, str(error)
            raise
        finally:
            for line in lines.values():
                with contextlib.suppress(OSError):  # who has left needs no answer
                    line.sendall(f"{_HELLO} {answer}\n".encode())


def _collect(server, open_lines, coordinator: str, processes: int, deadline: float, seconds: float):
    """Connections to the other processes, by number."""
    lines: dict[int, socket.socket] = {}

    def wrong(message: str) -> InputError:
        error = InputError(message)
        error.lines = lines
        return error

    while len(lines) < processes - 1:
        server.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            line = open_lines.enter_context(server.accept()[0])
            line.settimeout(5)
            said = line.makefile().readline().split()
        except TimeoutError:
            if time.monotonic() < deadline:
                continue
            missing = ", ".join(str(i) for i in range(1, processes) if i not in lines)
            raise wrong(
                f"After {seconds:.0f} s, of {processes} processes these had not come to {coordinator}: "
                f"{missing}; start all with the same --coordinator and --processes."
            ) from None
        except (OSError, UnicodeDecodeError):
            continue  # not one of us
        if len(said) != 3 or said[0] != _HELLO:
            continue
        number, count = int(said[1]), int(said[2])
        taken = number in lines
        lines[-1 if taken else number] = line
        if taken:
            raise wrong(f"Two processes have --process={number}: number them from 0 to {processes - 1}.")
        if count != processes:
            raise wrong(
                f"Process {number} has --processes={count} and process 0 has --processes={processes}: "
                "give all the same number."
            )
    return lines


def _report(coordinator: str, processes: int, process: int, deadline: float) -> None:
    """Tells process 0 that this one is there and waits for its word."""
    address = parse_address(coordinator)
    answer, problem, started = "", "nothing listens there", time.monotonic()
    while not answer and time.monotonic() < deadline:
        try:
            with socket.create_connection(address, timeout=5) as line:
                line.sendall(f"{_HELLO} {process} {processes}\n".encode())
                line.settimeout(max(deadline - time.monotonic(), 0.01) + 5)
                greeting, _, answer = line.makefile(errors="replace").readline().strip().partition(" ")
            if greeting != _HELLO:
                problem, answer = "something else answers there" if greeting else "it hung up", ""
        except OSError as error:
            problem = error.strerror or str(error)
        if not answer:
            time.sleep(0.2)
    if not answer:
        raise InputError(
            f"Process 0 did not answer at --coordinator={coordinator} for {time.monotonic() - started:.0f} s "
            f"({problem}): start it there with --process=0, and let no firewall close that port."
        )
    if answer != "go":
        raise InputError(answer)
