"""An SSH server of our own on loopback, with keys of its own."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

import packages
from sides import end

ANSWERS_S = 10.0
# Root's server wants a user `sshd` and a folder in /run: only this server sees them.
PRIVATE = 'mount --bind "$0/passwd" /etc/passwd && mount -t tmpfs none /run && mkdir /run/sshd && exec "$@"'


def free_port() -> int:
    """A port that nobody uses at this moment; sshd cannot choose one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The server, and how clients reach it: `options` for scp and ssh, `user` with the host."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        """Starts it, and waits until it answers. Raises Missing without sshd."""
        sshd = packages.tool("sshd")
        self.port = free_port()
        self.user = f"{getpass.getuser()}@127.0.0.1"
        for name in ("host", "user"):
            keygen = [str(packages.tool("ssh-keygen")), "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(keygen, check=True, stdin=subprocess.DEVNULL)
        shutil.copy(folder / "user.pub", folder / "authorized")
        self._configure(folder)
        options = [f"IdentityFile={folder / 'user'}", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
        self.options = [word for option in (*options, "LogLevel=ERROR") for word in ("-o", option)]
        self.ssh = [str(packages.tool("ssh")), *self.options, "-p", str(self.port)]
        command = [str(sshd), "-D", "-e", "-f", str(folder / "config")]
        if os.geteuid() == 0:
            command = ["unshare", "--mount", "sh", "-c", PRIVATE, str(folder), *command]
        none, log = subprocess.DEVNULL, (folder / "log").open("w")
        with log:
            server = subprocess.Popen(command, env=packages.environment(), stdin=none, stdout=none, stderr=log)
        stack.callback(end, server)
        self._wait(folder / "log")

    def _configure(self, folder: Path) -> None:
        lines = [
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {folder / 'host'}",
            f"PidFile {folder / 'pid'}",
            f"AuthorizedKeysFile {folder / 'authorized'}",
            "StrictModes no",
            "UsePAM no",
            "PermitRootLogin yes",
            "Subsystem sftp internal-sftp",
        ]
        (folder / "config").write_text("\n".join(lines) + "\n")
        users = Path("/etc/passwd").read_text()
        if "\nsshd:" not in users:
            users += "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
        (folder / "passwd").write_text(users)

    def _wait(self, log: Path) -> None:
        ends = time.monotonic() + ANSWERS_S
        while subprocess.run([*self.ssh, self.user, "true"], capture_output=True, check=False).returncode:
            if time.monotonic() > ends:
                raise RuntimeError(f"sshd does not answer: {log.read_text().strip()}")
            time.sleep(0.1)

    def shell(self) -> str:
        """The command that reaches it, for rsync."""
        return shlex.join(self.ssh)
