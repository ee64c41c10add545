"""A gateway that is hindered on demand: its event loop, its disk, its clock (test/support/hindrance.c)."""

import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from lab import UID

SOURCE = Path(__file__).resolve().parents[1] / "support" / "hindrance.c"
LIBRARY = "/usr/local/lib/hindrance.so"


@functools.cache
def built():
    compiler = shutil.which("clang-19") or shutil.which("cc")
    assert compiler, "no C compiler (clang-19) to build test/support/hindrance.c"
    with tempfile.TemporaryDirectory(prefix="talaria-hindrance-") as directory:
        library = Path(directory) / "hindrance.so"
        subprocess.run([compiler, "-std=c11", "-O1", "-Wall", "-Wno-infinite-recursion", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
        return library.read_bytes()


class Hindrance:
    """Of one installed gateway that does not run yet. Further lines for the unit's [Service] section go into `unit`."""

    def __init__(self, gateway, unit=""):
        self.gateway = gateway
        # Where the service's sandbox lets it unlink.
        self.directory = f"/run/talaria/{gateway.profile}" if gateway.scope == "system" else f"/run/user/{UID}/talaria/{gateway.profile}"
        library = gateway.lab.path(LIBRARY)
        library.parent.mkdir(parents=True, exist_ok=True)
        library.write_bytes(built())
        library.chmod(0o755)
        self.lines = f"[Service]\nEnvironment=LD_PRELOAD={LIBRARY} HINDRANCE={self.directory}\n"
        gateway.drop_in(self.lines + unit)

    def order(self, what):
        # As the service's user: it is the one who takes it.
        self.gateway.lab.put_file(f"{self.directory}/{what}", "")

    def lift(self, what):
        self.gateway.lab.path(f"{self.directory}/{what}").unlink()

    def taken(self, what):
        return not self.gateway.lab.path(f"{self.directory}/{what}").exists()
