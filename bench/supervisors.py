"""The supervisors that bench/instances.py compares: each makes its services, starts them, kills and is killed.

Every service runs the same small program, which says its number of process into a pipe and becomes `sleep`. So a start
is seen when it happens, without looking, and a second one of the same service shows.
"""
import concurrent.futures, contextlib, json, os, pathlib, select, shutil, signal, subprocess, time

from common import FETTLE, TARGET, run

SLEEP = "1000000"
PROGRAM = r"""
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void) {
    char line[16];
    int length = snprintf(line, sizeof line, "%d\n", getpid());
    int pipe = open(PIPE, O_WRONLY | O_CLOEXEC);
    if (pipe < 0 || write(pipe, line, length) != length) return 1;
    execl("/bin/sleep", "sleep", SLEEP, (char *)0);
    return 1;
}
"""
HOLDER = r"""
#define _GNU_SOURCE
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>
int main(int count, char **words) {
    char *program[] = {words[1], 0}, *none[] = {0};
    posix_spawnattr_t session;
    posix_spawnattr_init(&session);
    posix_spawnattr_setflags(&session, POSIX_SPAWN_SETSID);
    pid_t pid;
    for (int left = atoi(words[2]); left > 0; left--)
        if (posix_spawn(&pid, words[1], 0, &session, program, none)) return 1;
    pause();
    return 0;
}
"""
PATIENCE = 120


class Starts:
    """The pipe that programs say their numbers into."""

    def __init__(self, path):
        self.path, self.rest = path, b""
        os.mkfifo(path)
        self.pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def program(self, path):
        """Makes what the services run. A shell would take longer to start than all that is measured."""
        source = path.with_suffix(".c")
        source.write_text(PROGRAM)
        run("cc", "-O2", "-static", f'-DPIPE="{self.path}"', f'-DSLEEP="{SLEEP}"', "-o", path, source)
        source.unlink()

    def wait(self, count, patience=PATIENCE):
        """The next so many numbers, and when the last of them came."""
        pids, end = [], time.monotonic() + patience
        while len(pids) < count:
            if not select.select([self.pipe], [], [], max(0, end - time.monotonic()))[0]:
                raise TimeoutError(f"{len(pids)} of {count} programs started")
            pids += self.read()
            if count - len(pids) > 50:
                time.sleep(0.01)  # whoever is measured has the processor
        return pids, time.monotonic()

    def read(self):
        with contextlib.suppress(BlockingIOError):
            *whole, self.rest = (self.rest + os.read(self.pipe, 65536)).split(b"\n")
            return [int(pid) for pid in whole]
        return []


def processes(test):
    """The numbers of processes whose parent, name and words `test` says yes to."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                head, tail = pathlib.Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)
                if test(int(tail.split()[1]), head.split("(", 1)[1], int(name)):
                    found.append(int(name))
    return found


def alive(pids):
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def end_all(started, name):
    """Ends what was started since and has this name."""
    for pid in processes(lambda _, found, pid: found == name and pid not in started):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


class Supervisor:
    """One of them, with `count` services in `place`."""

    def __init__(self, place, count):
        self.place, self.count = place / self.name, count
        self.place.mkdir()
        self.starts = Starts(self.place / "starts")
        self.program = self.place / "program"
        self.starts.program(self.program)
        self.main = None
        self.others = set(processes(lambda *_: True))  # they are left alone
        self.prepare()

    def spawn(self, *command, **options):
        null = subprocess.DEVNULL
        self.main = subprocess.Popen([str(word) for word in command], stdin=null, stdout=null, stderr=null, **options)

    def start_all(self):
        """Seconds from the command until all are alive."""
        began = time.monotonic()
        self.launch()
        self.pids, end = self.starts.wait(self.count)
        return end - began

    def start_one(self):
        """Seconds from the command that starts a stopped service until it is alive."""
        self.down()
        self.starts.read()
        began = time.monotonic()
        command = self.up()
        (pid,), end = self.starts.wait(1)
        if command:
            command.wait()
        self.pids = [*alive(self.pids), pid]
        return end - began

    def kill_one(self):
        """Seconds from the death of a program until it is back."""
        victim = self.pids.pop(0)
        began = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        (pid,), end = self.starts.wait(1)
        self.pids.append(pid)
        return end - began

    def managers(self):
        """The processes that it consists of."""
        return [self.main.pid, *processes(lambda parent, name, _: parent == self.main.pid and name in self.helpers)]

    helpers = ()

    def replace(self):
        """Kills it and starts it again: how many programs started a second time, how many are gone."""
        before = list(self.pids)
        self.main.kill()
        self.main.wait()
        self.launch()
        time.sleep(5)
        again = self.starts.read()
        lost = len(before) - len(alive(before))
        self.pids = alive(before) + again
        return len(again), lost

    def end(self):
        """Whatever way it ends."""
        with contextlib.suppress(Exception):
            self.stop()
        for pid in [*getattr(self, "pids", []), *self.starts.read()]:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if self.main:
            self.main.kill()
            self.main.wait()
        os.close(self.starts.pipe)
        time.sleep(1)

    def stop(self):
        self.main.terminate()
        self.main.wait(PATIENCE)


class S6(Supervisor):
    name, title, helpers = "s6", "s6", ("s6-supervise",)

    def prepare(self):
        for number in range(self.count):
            service = self.place / "scan" / str(number)
            service.mkdir(parents=True)
            os.link(self.program, service / "run")

    def launch(self):
        self.spawn("s6-svscan", "-c", str(self.count + 10), self.place / "scan")

    def down(self):
        run("s6-svc", "-wD", "-d", self.place / "scan/0")

    def up(self):
        return subprocess.Popen(["s6-svc", "-u", str(self.place / "scan/0")])

    def stop(self):
        run("s6-svscanctl", "-t", self.place / "scan")
        self.main.wait(PATIENCE)

    def end(self):
        super().end()
        end_all(self.others, "s6-supervise")


class Runit(Supervisor):
    name, title, helpers = "runit", "runit", ("runsv",)

    def prepare(self):
        for number in range(self.count):
            service = self.place / "scan" / str(number)
            service.mkdir(parents=True)
            os.link(self.program, service / "run")

    def launch(self):
        self.spawn("runsvdir", self.place / "scan")

    def stop(self):
        self.main.send_signal(signal.SIGHUP)  # it ends, and all with it
        self.main.wait(PATIENCE)
        self.starts.read()
        for _ in range(PATIENCE):
            if not processes(lambda _, name, pid: name == "runsv"):
                return
            time.sleep(0.5)

    def end(self):
        super().end()
        end_all(self.others, "runsv")


class Floor(Supervisor):
    """No supervisor: what it takes to make the processes and to hold them, and nothing else."""
    name, title = "floor", "floor: spawn and hold, nothing recorded"

    def prepare(self):
        self.holder = self.place / "holder"
        source = self.place / "holder.c"
        source.write_text(HOLDER)
        run("cc", "-O2", "-static", "-o", self.holder, source)

    def launch(self):
        self.spawn(self.holder, self.program, self.count)

    def replace(self):
        raise NotImplementedError("it starts nothing again")


class Supervisord(Supervisor):
    name, title = "supervisord", "supervisord"

    def prepare(self):
        programs = "".join(
            f"[program:p{number}]\ncommand={self.program}\nautorestart=true\nstdout_logfile=NONE\nstderr_logfile=NONE\n"
            for number in range(self.count))
        (self.place / "conf").write_text(
            f"[supervisord]\nnodaemon=true\nminfds=8192\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile={self.place}/pid\n{programs}")

    def launch(self):
        self.spawn("supervisord", "-c", self.place / "conf")


class Pm2(Supervisor):
    name, title = "pm2", "pm2"

    def prepare(self):
        self.pm2_program = TARGET / "peers/node_modules/.bin/pm2"
        self.environ = {**os.environ, "PM2_HOME": str(self.place / "home")}
        apps = [{"name": f"p{number}", "script": str(self.program), "interpreter": "none"} for number in range(self.count)]
        (self.place / "apps.json").write_text(json.dumps({"apps": apps}))

    def pm2(self, *words):
        return run(self.pm2_program, *words, env=self.environ, stderr=subprocess.DEVNULL)

    def launch(self):
        self.pm2("start", self.place / "apps.json")
        pid = int((self.place / "home/pm2.pid").read_text())
        self.main = Other(pid)

    def replace(self):
        self.pm2("save")
        before = list(self.pids)
        self.main.kill()
        time.sleep(1)
        self.pm2("resurrect")
        self.main = Other(int((self.place / "home/pm2.pid").read_text()))
        time.sleep(5)
        again = self.starts.read()
        lost = len(before) - len(alive(before))
        self.pids = alive(before) + again
        return len(again), lost

    def stop(self):
        self.pm2("kill")


class Other:
    """A process that is not our child, looked at like one that is."""

    def __init__(self, pid):
        self.pid = pid

    def kill(self):
        with contextlib.suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self, _=None):
        while os.path.exists(f"/proc/{self.pid}"):
            time.sleep(0.05)


class Systemd(Supervisor):
    """Transient instances of one unit of the system manager."""
    name, title = "systemd", "systemd"

    def prepare(self):
        unit = pathlib.Path("/run/systemd/system/fettle-bench@.service")
        unit.write_text(f"[Service]\nExecStart={self.program}\nRestart=always\nRestartSec=0\n")
        target = pathlib.Path("/run/systemd/system/fettle-bench.target")
        target.write_text("[Unit]\nWants=" + " ".join(f"fettle-bench@{n}.service" for n in range(self.count)) + "\n")
        run("systemctl", "daemon-reload")
        self.main = Other(1)

    def launch(self):
        run("systemctl", "start", "fettle-bench.target")

    def replace(self):
        raise NotImplementedError("process 1 cannot be killed and started again")

    def end(self):
        run("systemctl", "stop", "fettle-bench@*.service", "fettle-bench.target")
        for unit in pathlib.Path("/run/systemd/system").glob("fettle-bench*"):
            unit.unlink()
        run("systemctl", "daemon-reload")


class Fettle(Supervisor):
    name, title = "fettle", "fettle"

    def prepare(self):
        self.server = subprocess.Popen([FETTLE, "server", "--data", self.place / "server", "--listen", "127.0.0.1:0"],
                                       stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.url = self.server.stdout.readline().split()[1].decode()
        self.launch()
        manifest = self.place / "bench.toml"
        manifest.write_text(f'title = "bench"\nname = "bench"\nversion = "1.0.0"\n[program]\nany = "{self.program}"\n')
        self.call("app", "publish", manifest)
        self.call("install", "bench")
        with concurrent.futures.ThreadPoolExecutor(4) as some:
            list(some.map(lambda _: self.call("instance", "create", "bench/1"), range(self.count)))

    def command(self, *words):
        return [str(word) for word in (FETTLE, "--server", self.url, "--node", self.address, *words)]

    def call(self, *words):
        return run(*self.command(*words), stderr=subprocess.DEVNULL)

    def launch(self):
        words = ["--server", self.url, "node", "--root", self.place / "node", "--listen", "127.0.0.1:0", "--allow-loopback"]
        with open(self.place / "node.log", "a") as log:
            self.main = subprocess.Popen([FETTLE, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        self.address = self.main.stdout.readline().split()[1].decode()

    def start_all(self):
        """All are alive. That they shall run lasts over a power cut by then: a program is made after that was
        synced. The command itself goes on for as long as it watches them, and says how they do."""
        began = time.monotonic()
        null = subprocess.DEVNULL
        command = subprocess.Popen(self.command("start", "bench/1/*"), stdout=null, stderr=null)
        self.pids, alive = self.starts.wait(self.count)
        assert command.wait(PATIENCE) == 0, "the command says that all are started"
        self.ended = time.monotonic() - began
        return alive - began

    def stop_all(self):
        self.call("stop", "bench/1/*")
        assert not alive(self.pids), "they are stopped"
        self.pids = []

    def down(self):
        self.call("stop", "bench/1/1")

    def up(self):
        null = subprocess.DEVNULL
        return subprocess.Popen(self.command("start", "bench/1/1"), stdout=null, stderr=null)

    def managers(self):
        return [self.main.pid, *self.launchers()]

    def launchers(self):
        socket = str(self.place / "node/run").encode()
        return processes(lambda _, name, pid: name == "fettle-launch" and socket in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes())

    def replace(self):
        """Also how long it takes from the new process until `ps` says that all run, with the same processes."""
        before = set(self.pids)
        self.main.kill()
        self.main.wait()
        began = time.monotonic()
        self.launch()
        said = self.call("--json", "ps")
        self.took = time.monotonic() - began
        found = [json.loads(line) for line in said.splitlines()]
        running = {body["pid"] for body in found if body["state"] == "running"}
        time.sleep(1)
        again = self.starts.read()
        return len(again), len(before - running) + len(before) - len(alive(before))

    def stop(self):
        self.call("stop", "bench/1/*")
        self.main.terminate()
        self.main.wait(PATIENCE)
        self.server.terminate()
        self.server.wait()
