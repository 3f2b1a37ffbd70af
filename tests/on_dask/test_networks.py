"""Networks between the workers: encrypted, slow or cut, and no port beyond Dask's."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import cloudpickle
import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, Security
from numpy.typing import NDArray

from densegrad import Adam, Dense, Network, Trainer
from densegrad.dask import train

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this module

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None,
    reason="network namespaces need root and iproute2",
)


@pytest.fixture(scope="module")
def target(X: NDArray[Any]) -> NDArray[np.int64]:
    return (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0)


def make_trainer() -> Trainer:
    net = Network(5, [Dense(16), Dense(3, "softmax")], loss="log_loss", dtype="float32", random_state=0)
    return Trainer(net, Adam(0.01), batch_size=64, shards=8, random_state=0)


def trained(client: Client, X: NDArray[Any], target: NDArray[Any], **options: Any) -> bytes:
    there = make_trainer()
    rows, labels = da.from_array(X, chunks=(100, 5)), da.from_array(target, chunks=100)
    train(client, there, rows, labels, epochs=4, **options)
    return there.network.parameters.tobytes()


@pytest.fixture(scope="module")
def alone(X: NDArray[Any], target: NDArray[Any]) -> bytes:
    here = make_trainer()
    here.fit(X, target, epochs=4)
    return here.network.parameters.tobytes()


class Ports:
    """A callback that notes the ports at which its process listens, while ranks exchange."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        Path(self.path).write_text(" ".join(map(str, listening())))


def listening() -> list[int]:
    connections = psutil.Process().net_connections("inet")
    return sorted(c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN)


def test_no_port_beyond_those_of_dask(
    four_workers: Client, X: NDArray[Any], target: NDArray[Any], alone: bytes, tmp_path: Path
) -> None:
    before = four_workers.run(listening)
    path = tmp_path / "ports"
    assert trained(four_workers, X, target, callbacks=[Ports(str(path))]) == alone
    assert [*map(int, path.read_text().split())] in before.values()
    assert four_workers.run(listening) == before


@pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates need openssl")
def test_an_encrypted_cluster(
    X: NDArray[Any], target: NDArray[Any], alone: bytes, tmp_path: Path, local_cluster: Any
) -> None:
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [
            *["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            "-keyout",
            key,
            "-out",
            certificate,
            *name,
        ],
        check=True,
        capture_output=True,
    )
    roles = {
        f"tls_{role}_{what}": path
        for role in ("client", "scheduler", "worker")
        for what, path in (("cert", certificate), ("key", key))
    }
    security = Security(tls_ca_file=certificate, require_encryption=True, **roles)
    with local_cluster(2, protocol="tls://", security=security) as (_, client):
        assert all(address.startswith("tls://") for address in client.nthreads())
        assert trained(client, X, target) == alone


_NUMBERS = itertools.count()


class Host:
    """A network namespace with a worker in it."""

    def __init__(self, stack: ExitStack, bridge: str, subnet: str, number: int) -> None:
        self.name, self.link, inner = f"{bridge}h{number}", f"{bridge}o{number}", f"{bridge}i{number}"
        self.address = f"{subnet}.{number + 2}"
        ip("netns", "add", self.name)
        stack.callback(ip, "netns", "del", self.name)
        ip("link", "add", self.link, "type", "veth", "peer", "name", inner, "netns", self.name)
        ip("link", "set", self.link, "master", bridge, "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", inner)
        self.inside("ip", "link", "set", inner, "up")
        self.inside("ip", "link", "set", "lo", "up")

    def command(self, *arguments: str) -> list[str]:
        return ["ip", "netns", "exec", self.name, *arguments]

    def inside(self, *arguments: str) -> None:
        subprocess.run(self.command(*arguments), check=True, capture_output=True)

    def cut(self) -> None:
        ip("link", "set", self.link, "down")

    def slow(self, rate: str) -> None:
        subprocess.run(
            f"tc qdisc add dev {self.link} root tbf rate {rate} burst 64kb latency 100ms".split(),
            check=True,
            capture_output=True,
        )


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def hosts(count: int, folder: Path) -> Iterator[tuple[Client, list[Host]]]:
    """A scheduler here and a worker on each of several hosts, which a bridge joins."""
    number = os.getpid() % 10_000 * 4 + next(_NUMBERS) % 4
    bridge, subnet = f"dg{number}", f"10.{213 + number % 3}.{number // 3 % 250}"
    paths = os.pathsep.join(
        [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    )  # of callbacks
    environment = {**os.environ, "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "PYTHONPATH": paths}
    dask = [str(Path(sys.executable).with_name("dask"))]
    file = folder / "scheduler.json"

    def start(command: list[str]) -> None:
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder
        )
        stack.callback(process.wait)
        stack.callback(process.kill)

    with ExitStack() as stack:
        try:
            ip("link", "add", bridge, "type", "bridge")
            stack.callback(ip, "link", "del", bridge)
            ip("addr", "add", f"{subnet}.1/24", "dev", bridge)
            ip("link", "set", bridge, "up")
            all_hosts = [Host(stack, bridge, subnet, k) for k in range(count)]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
        options = f"--host {subnet}.1 --port 0 --no-dashboard --scheduler-file {file}"
        start([*dask, "scheduler", *options.split()])
        while not file.exists() or not file.read_text().endswith("}"):
            time.sleep(0.1)
        for host in all_hosts:
            options = f"--nthreads 1 --no-nanny --no-dashboard --host {host.address} --scheduler-file {file}"
            start(host.command(*dask, "worker", *options.split()))
        client = stack.enter_context(Client(scheduler_file=str(file), set_as_default=False, timeout=60))
        client.wait_for_workers(count, timeout=120)
        yield client, all_hosts


class CutAfter:
    """A callback that leaves a file after the first epoch; the test then cuts a host off."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, epoch: int, logs: dict[str, float]) -> None:
        if epoch == 1:
            Path(self.path).touch()
            time.sleep(0.5)  # the next epoch begins without that host


@needs_namespaces
def test_a_host_that_vanishes(X: NDArray[Any], target: NDArray[Any], alone: bytes, tmp_path: Path) -> None:
    """No packet comes from it any more, not even one that closes a connection."""
    mark = tmp_path / "mark"
    with hosts(3, tmp_path) as (client, all_hosts):

        def cut() -> None:
            while not mark.exists():
                time.sleep(0.02)
            all_hosts[2].cut()

        thread = threading.Thread(target=cut, daemon=True)
        thread.start()
        assert trained(client, X, target, callbacks=[CutAfter(str(mark))], timeout=10) == alone
        assert mark.exists()
        thread.join()
        assert len(client.nthreads()) == 2


@needs_namespaces
def test_a_slow_network(X: NDArray[Any], target: NDArray[Any], alone: bytes, tmp_path: Path) -> None:
    with hosts(2, tmp_path) as (client, all_hosts):
        for host in all_hosts:
            host.slow("100mbit")
        assert trained(client, X, target) == alone
