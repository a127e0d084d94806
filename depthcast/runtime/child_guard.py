"""Turns its process into another program that does not outlive the parent process.

It runs as a script, by path, with `GUARD PARENT_PID PIPE_FD PROGRAM ARGUMENT...`, and uses only the standard
library. The program keeps the process id. This is safe with any number of threads in the parent, unlike code
that runs between fork and exec.

Guards:
    prctl: Linux. The kernel sends SIGKILL when the *thread* that started this process ends (prctl(2)).
    pipe:  Elsewhere. A second process waits until the parent's end of a pipe closes, then sends SIGKILL.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(arguments: Sequence[str]) -> None:
    """Set up the guard, then replace this process by the program."""
    guard, parent_pid, pipe_fd, *command = arguments
    if guard == "prctl":
        end_with_parent(int(parent_pid))
    else:
        end_with_pipe(int(pipe_fd))
    os.close(int(pipe_fd))
    os.execv(command[0], command)


def end_with_parent(parent_pid: int) -> None:
    """Ask the kernel to kill this process when the parent's thread ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    # If the parent ended before this call, nothing would ever send the signal.
    if os.getppid() != parent_pid:
        sys.exit("the parent process has ended")


def end_with_pipe(pipe_fd: int) -> None:
    """Fork a watcher that kills this process when the pipe closes."""
    guarded = os.getpid()
    if os.fork() != 0:
        return
    os.setsid()  # so that Ctrl-C in the terminal does not end the watcher first
    os.read(pipe_fd, 1)  # nothing is ever written: returns when the parent closes its end or ends
    if os.getppid() == guarded:
        os.kill(guarded, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
