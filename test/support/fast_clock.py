"""A clock for a gateway under test that runs as fast as the test says: an hour's outage takes a minute (clock.c does it).

    with FastClock(tmp_path) as clock:
        environment = clock.environment        # of the gateway
        clock.run(60)                          # from now on a second here is a minute there
        clock.now()                            # seconds on the gateway's monotonic clock
"""

import mmap
import pathlib
import shutil
import struct
import subprocess
import time

SOURCE = pathlib.Path(__file__).with_name("clock.c")
ORDER = struct.Struct("=Qqqd")
SECOND = 10**9


class FastClock:
    def __init__(self, directory: pathlib.Path):
        compiler = shutil.which("cc") or shutil.which("clang-19") or shutil.which("clang")
        if compiler is None:
            raise FileNotFoundError(f"no C compiler to build {SOURCE.name}: tools/install-packages --test")
        library = directory / "clock.so"
        subprocess.run([compiler, "-std=gnu11", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        self._file = directory / "clock"
        self._file.write_bytes(bytes(ORDER.size))
        with open(self._file, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), ORDER.size)
        self._turn, self._since, self._ahead, self._rate = 0, time.monotonic_ns(), 0, 1.0
        self.run(1)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self._file)}

    def __enter__(self) -> "FastClock":
        return self

    def __exit__(self, *_) -> None:
        self._map.close()

    def run(self, rate: float) -> None:
        """From now on the gateway's time runs `rate` times as fast as ours."""
        now = time.monotonic_ns()
        self._ahead += int((now - self._since) * (self._rate - 1))
        self._since, self._rate = now, rate
        self._turn += 2
        self._map[:8] = struct.pack("=Q", self._turn - 1)
        self._map[8:] = ORDER.pack(0, self._since, self._ahead, self._rate)[8:]
        self._map[:8] = struct.pack("=Q", self._turn)

    def now(self) -> float:
        now = time.monotonic_ns()
        return (now + self._ahead + (now - self._since) * (self._rate - 1)) / SECOND

    def wait_until(self, condition, seconds: float, what: str):
        """The first true condition(), asked again and again; fails when it took more than so many of the gateway's seconds."""
        began = self.now()
        while not (value := condition()):
            if self.now() - began > seconds:
                raise TimeoutError(f"no {what} within {seconds:g} s of the gateway's time")
            time.sleep(0.005)
        return value
