#!/usr/bin/env python3
"""Runs a thousand programs under fettle and under what people use instead, in turn, and prints the ratios.

    bench/instances.py [--rounds N] [--count N] [--only WORD] [--peers NAME,...] [--markdown FILE]

Every service of every supervisor runs the same program, which says that it is there and becomes `sleep`. All lie
on one ext4 that was made for it (a loop image when run as root, a directory else). Times are from the command,
with the start of the command itself. The ratio is that of the medians; the spread is (largest - smallest) /
median of fettle's own. s6, runit and supervisord come from Debian, pm2 from npm into target/peers; systemd is
measured where it is process 1.
"""
import argparse, contextlib, os, pathlib, select, shutil, statistics, subprocess, sys, tempfile, time

import supervisors
from common import FETTLE, TARGET, Disk, build, machine, run


class Table:
    """Rows of the page, in the order in which they are asked for."""

    def __init__(self):
        self.lines = ["| what | fettle | against | | ratio | goal | | spread |", "|---|---|---|---|---|---|---|---|"]

    def times(self, what, ours, peer, theirs, goal=None):
        mine, other = statistics.median(ours), statistics.median(theirs)
        self.row(what, time_of(mine), peer, time_of(other), mine / other, goal, (max(ours) - min(ours)) / mine)

    def row(self, what, mine, peer, other, ratio, goal, spread=None):
        met = "" if goal is None else "met" if ratio <= goal else "**not met**"
        self.lines.append(f"| {what} | {mine} | {peer} | {other} | {ratio:.2f} | {'' if goal is None else goal} | {met} | "
                          f"{'' if spread is None else f'{spread:.0%}'} |")

    def bound(self, what, mine, goal, met, peer="", other=""):
        self.lines.append(f"| {what} | {mine} | {peer} | {other} | | {goal} | {'met' if met else '**not met**'} | |")

    def fact(self, what, peer, other):
        self.lines.append(f"| {what} | | {peer} | {other} | | | | |")


def time_of(seconds):
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


def memory(pids):
    """Resident bytes and proportional bytes."""
    sums = {"Rss": 0, "Pss": 0}
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            key, _, rest = line.partition(":")
            if key in sums:
                sums[key] += int(rest.split()[0]) * 1024
    return sums["Rss"], sums["Pss"]


def processor(pids):
    """Nanoseconds that these processes' threads have run."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total


def floor(pids):
    """Seconds to look at so many processes, to hold each and to wait for all of them: less is not possible."""
    began = time.monotonic()
    waiting, held = select.epoll(), []
    for pid in pids:
        pathlib.Path(f"/proc/{pid}/stat").read_bytes()
        held.append(os.pidfd_open(pid))
        waiting.register(held[-1], select.EPOLLIN)
    waiting.poll(0)
    took = time.monotonic() - began
    for descriptor in held:
        os.close(descriptor)
    return took


def say(*words):
    print(*words, file=sys.stderr, flush=True)


def peers_of(options):
    """What can be measured here, and what cannot, and why."""
    kinds, missing = [supervisors.S6, supervisors.Runit, supervisors.Floor], []
    kinds.append(supervisors.Supervisord)
    pm2 = TARGET / "peers/node_modules/.bin/pm2"
    (kinds if pm2.exists() else missing).append(supervisors.Pm2 if pm2.exists() else ("pm2", "not installed here"))
    if pathlib.Path("/run/systemd/system").exists() and os.geteuid() == 0:
        kinds.append(supervisors.Systemd)
    else:
        missing.append(("systemd", "not process 1 here, so not measured"))
    wanted = options.peers.split(",") if options.peers else None
    return [kind for kind in kinds if wanted is None or kind.name in wanted], missing


def thousand(place, options, table):
    """Starts, size at rest, death of the supervisor: all with `count` programs."""
    count = options.count
    kinds, missing = peers_of(options)
    starts, replaced, floors, rest, ended = {}, {}, [], {}, []
    ours = supervisors.Fettle(place, count)
    try:
        for number in range(options.rounds):
            starts.setdefault("fettle", []).append(ours.start_all())
            ended.append(ours.ended)
            if number == 0:
                rest["fettle"] = at_rest(ours, options)
            floors.append(floor(ours.pids))
            again, lost = ours.replace()
            replaced.setdefault("fettle", []).append((again, lost, ours.took))
            say("fettle", starts["fettle"][-1], "replaced", replaced["fettle"][-1], "floor", floors[-1])
            ours.stop_all()
            for kind in kinds:
                peer = kind(place, count)
                try:
                    starts.setdefault(kind.title, []).append(peer.start_all())
                    if number == 0:
                        rest[kind.title] = at_rest(peer, options)
                        with contextlib.suppress(NotImplementedError):
                            replaced[kind.title] = peer.replace()
                finally:
                    peer.end()
                    shutil.rmtree(peer.place, ignore_errors=True)  # some end late
                say(kind.title, starts[kind.title][-1], rest.get(kind.title), replaced.get(kind.title))
    finally:
        ours.end()
    shutil.rmtree(ours.place, ignore_errors=True)
    what = f"{count} programs from stopped to all alive, ours with durable state"
    for title, times in starts.items():
        if title != "fettle":
            table.times(what, starts["fettle"], title, times, 0.6 if title == "s6" else None)
            if title == "s6":
                table.times("the same, and our command has watched each for 200 ms and ended", ended, title, times)
    for title, why in missing:
        table.fact(what, title, why)
    rss, pss, cpu, processes = rest["fettle"]
    table.bound(f"memory of manager and launcher with {count}", f"{rss / 2**20:.1f} MiB (PSS {pss / 2**20:.1f})", "15 MiB", rss <= 15 * 2**20)
    table.bound(f"processor at rest with {count}, of one core over {options.idle} s", f"{cpu:.4%}", "0.02 %", cpu <= 0.0002)
    for title, (rss, pss, cpu, processes) in rest.items():
        if title != "fettle":
            table.fact("the same", title, f"{rss / 2**20:.1f} MiB (PSS {pss / 2**20:.1f}) in {processes} processes, {cpu:.3%}")
    again = sum(again for again, *_ in replaced["fettle"])
    lost = sum(lost for _, lost, _ in replaced["fettle"])
    table.times(f"kill -9 of the manager, until `ps` says that all {count} run", [took for *_, took in replaced["fettle"]],
                "floor: look at, hold and wait for them", floors, 4)
    table.bound("of them started a second time, lost", f"{again}, {lost}", "0, 0", (again, lost) == (0, 0))
    for title, outcome in replaced.items():
        if title != "fettle":
            table.fact("the same", title, f"{outcome[0]}, {outcome[1]}")


def at_rest(supervisor, options):
    """Its size, and the share of a core that it takes while nothing happens."""
    time.sleep(12)  # what was needed for the start has gone by then
    managers = supervisor.managers()
    before = processor(managers)
    time.sleep(options.idle)
    return *memory(managers), (processor(managers) - before) / options.idle / 1e9, len(managers)


def single(place, options, table):
    """One program of forty: from the command to alive, and back after it was killed."""
    rounds = max(options.rounds, 5) * 3
    kinds = [supervisors.Fettle, supervisors.S6, supervisors.Runit]
    running = []
    try:
        for kind in kinds:
            running.append(kind(place, 40))
            running[-1].start_all()
        ours, s6, runit = running
        starts = {ours: [], s6: []}
        for _ in range(rounds):
            for supervisor, times in starts.items():
                times.append(supervisor.start_one())
            time.sleep(1.1)  # s6 pauses before a second start within one second
        # Ten seconds of running give a program its first restart without a pause back.
        time.sleep(11)
        back = {ours: [], runit: []}
        for _ in range(rounds * 2):  # of each another one
            for supervisor, times in back.items():
                times.append(supervisor.kill_one())
                time.sleep(0.2)
        table.times("one program from command to alive", starts[ours], "`s6-svc -u`", starts[s6], 1.0)
        table.times("a killed program is back", back[ours], "runit", back[runit], 1.3)
        say({supervisor.title: times for supervisor, times in [*starts.items(), *back.items()]})
    finally:
        for supervisor in running:
            supervisor.end()
            shutil.rmtree(supervisor.place, ignore_errors=True)


def commands(place, options, table):
    """The command line alone."""
    source = place / "true.c"
    source.write_text("int main(void) { return 0; }\n")
    run("cc", "-O2", "-static", "-o", place / "true", source)
    ours = supervisors.Fettle(place, 1)
    try:
        ours.start_all()
        url = f"{ours.address}/v1/instances/bench/1/1"
        run("curl", "-sSf", url)
        ways = {
            "version": [FETTLE, "--version"], "true": [place / "true"],
            "status": ours.command("status", "bench/1/1"), "curl": ["curl", "-sSf", url],
        }
        times = {name: [] for name in ways}
        for _ in range(max(options.rounds * 20, 100)):
            for name, way in ways.items():
                began = time.monotonic()
                run(*way)
                times[name].append(time.monotonic() - began)
        table.times("`fettle --version`", times["version"], "a static `true`", times["true"], 3)
        table.times("`fettle status` of one instance", times["status"], "`curl` of the same", times["curl"], 0.6)
    finally:
        ours.end()
        shutil.rmtree(ours.place, ignore_errors=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--idle", type=int, default=30, help="seconds of rest that are measured")
    options.add_argument("--only", default="", help="thousand, single or commands")
    options.add_argument("--peers", default="", help="names, joined by commas")
    options.add_argument("--no-build", action="store_true")
    options.add_argument("--markdown", type=pathlib.Path)
    options = options.parse_args()
    if not options.no_build:
        build()
    table = Table()
    with tempfile.TemporaryDirectory(prefix="fettle-bench-") as work:
        disk = Disk(pathlib.Path(work))
        for part in [commands, single, thousand]:
            if options.only in part.__name__:
                with disk.fresh() as place:
                    part(place, options, table)
        kind = disk.kind()
    text = f"{kind}, {machine()}, medians of at least {options.rounds} rounds in turn.\n\n" + "\n".join(table.lines) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


main()
