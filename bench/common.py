"""What the benchmarks have in common: the program, a fresh file system, a service, the machine's own words."""
import contextlib, os, pathlib, platform, re, shutil, subprocess, time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
FETTLE = TARGET / "dist/fettle"


def build():
    """The program as it is given away."""
    run("cargo", "build", "--profile", "dist", "--locked", "--quiet", "-p", "fettle", cwd=ROOT)


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, **options).stdout


class Disk:
    """A fresh file system for each measurement: what was deleted before slows nothing down."""

    def __init__(self, work):
        self.image, self.dir = work / "disk.img", work / "disk"
        self.dir.mkdir()
        self.loop = os.geteuid() == 0

    @contextlib.contextmanager
    def fresh(self):
        if self.loop:
            self.image.unlink(missing_ok=True)
            run("truncate", "-s", "3G", self.image)
            run("mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.image)
            run("mount", "-o", "loop", self.image, self.dir)
        try:
            run("sync")
            yield self.dir
        finally:
            if self.loop:
                run("umount", "-l", self.dir)  # whoever still ends keeps nobody else waiting
            else:
                shutil.rmtree(self.dir)
                self.dir.mkdir()

    def kind(self):
        return "ext4 with a journal on a loop image" if self.loop else "the file system of the temporary directory"


class Service:
    """A fettle server or node; its address is in its first line."""

    def __init__(self, *arguments):
        self.process = subprocess.Popen([str(FETTLE), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.address = self.process.stdout.readline().split()[1].decode()

    def cpu(self):
        """Seconds of processor that it and the children that it has waited for took."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(value) for value in fields[11:15]) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def machine():
    """Cores, processor, kernel and day."""
    cpu = re.search(r"model name\s*:\s*(.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return (f"{os.cpu_count()} cores ({cpu[1] if cpu else platform.machine()}), Linux {platform.release().split('-')[0]}, "
            f"{time.strftime('%Y-%m-%d', time.gmtime())}")
