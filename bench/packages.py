#!/usr/bin/env python3
"""Installs the same tree with fettle and with what people use instead, in turn, and prints the ratios.

    bench/packages.py [--rounds N] [--only WORD] [--markdown FILE]

The tree is four Python packages as they come from their registry. Each measurement runs on an ext4 that
was made for it (a loop image when run as root, a directory else), with the sources in the page cache.
Every way downloads from the same fettle server on loopback, verifies the SHA-256 of what came, unpacks,
and ends with one sync of the file system. fettle writes a digest of every file besides.
The ratio is that of the medians; the spread is (largest - smallest) / median of fettle's own times.
"""
import argparse, contextlib, hashlib, json, os, pathlib, re, shutil, statistics, subprocess
import sys, tempfile, threading, time, zipfile

from common import FETTLE, Disk, Service, build, machine, run

WHEELS = ["numpy==2.4.6", "pandas==3.1.1", "sympy==1.14.0", "matplotlib==3.11.2"]
GOALS = {  # of the issue; peer -> (row, goal)
    ("tar.zst", "curl, openssl, tar --zstd, sync"): 0.65, ("tar.zst", "uv, cold"): 1.0,
    ("tar.gz", "curl, openssl, tar -z, sync"): 0.55,
    ("zip", "curl, openssl, unzip, sync"): 0.45, ("zip", "curl, openssl, ripunzip, sync"): 1.1,
    ("tar.bz2", "tar -xj alone"): 0.40, ("tar.xz", "curl, openssl, tar -J, sync"): None,
    ("second installation, the tree", "cp -al of the tree"): 0.05,
    ("second instance, the tree", "cp -al of the tree"): 0.05,
    ("second installation, one file", "cp -al of the tree"): 0.05,
}


class Memory(threading.Thread):
    """The most memory that a process and its children had at once, as their high-water marks say."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.marks, self.going = pid, {}, True

    def run(self):
        while self.going:
            children = []
            for task in pathlib.Path(f"/proc/{self.pid}/task").glob("*/children"):
                with contextlib.suppress(OSError):
                    children += task.read_text().split()
            for pid in [str(self.pid), *children]:
                with contextlib.suppress(OSError):
                    mark = re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text())
                    self.marks[pid] = int(mark[1]) * 1024 if mark else 0
            time.sleep(0.005)

    def peak(self):
        self.going = False
        self.join()
        children = [mark for pid, mark in self.marks.items() if pid != str(self.pid)]
        return self.marks.get(str(self.pid), 0) + max(children, default=0)


def prepare(work):
    """The tree, its archives, and what a wheel is for uv."""
    tree, wheels = work / "tree", work / "wheels"
    run(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--disable-pip-version-check", "-d", wheels, *WHEELS)
    tree.mkdir()
    for wheel in sorted(wheels.iterdir()):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(tree)
    tar = ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "-C", tree, "-cf"]
    run(*tar, work / "tree.tar", ".")
    for ending, command in {"gz": ["gzip", "-6"], "bz2": ["bzip2", "-9"], "zst": ["zstd", "-q", "-3"], "xz": ["xz", "-6"]}.items():
        with open(work / "tree.tar", "rb") as source, open(work / f"tree.tar.{ending}", "wb") as target:
            subprocess.run([*command, "-c"], stdin=source, stdout=target, check=True)
    run("zip", "-q", "-r", work / "tree.zip", ".", cwd=tree)
    (work / "program").write_text("#!/bin/sh\nexec sleep 1000\n")
    (work / "one.txt").write_text("one file\n")
    return tree, wheels


def url(server, ending):
    """Where the server has the archive that `publish` stored."""
    lines = run(FETTLE, "--server", server, "--json", "object", "list", f"bench/{ending}/**").splitlines()
    return next(f"{server}/v1/objects/{name}" for name in (json.loads(line)["name"] for line in lines) if "/tree-" in name)


def publish(work, server):
    """One application for each archive, with a program beside."""
    for ending in ["tar.zst", "tar.gz", "tar.bz2", "tar.xz", "zip", "txt"]:
        source = work / ("one.txt" if ending == "txt" else f"tree.{ending}")
        manifest = work / f"{ending}.toml"
        manifest.write_text(
            f'title = "bench"\nname = "bench/{ending}"\nversion = "1.0.0"\n[program]\nany = "{work}/program"\n'
            f'[packages]\ntree = "{source}"\n')
        run(FETTLE, "--server", server, "app", "publish", manifest, stderr=subprocess.DEVNULL)


def fettle_installs(disk, server, ending, facts):
    def install(place, watched):
        """How long it took, how many cores were busy meanwhile, and the most memory if it was watched."""
        node = Service("--server", server.address, "node", "--root", place / "node")
        memory = Memory(node.process.pid) if watched else None
        if memory:
            memory.start()
        cpu, began = node.cpu() + server.cpu(), time.monotonic()
        run(FETTLE, "--server", server.address, "--node", node.address, "install", f"bench/{ending}", stderr=subprocess.DEVNULL)
        took = time.monotonic() - began
        busy = (node.cpu() + server.cpu() - cpu) / took
        peak = memory.peak() if memory else 0
        check(place, ending)
        node.stop()
        return took, busy, peak

    def once():
        # Whoever looks at the memory all the time takes a part of a core: that one is not timed.
        if ending not in facts:
            with disk.fresh() as place:
                facts[ending] = [(install(place, True)[2], None)]
        with disk.fresh() as place:
            took, busy, _ = install(place, False)
            facts[ending].append((0, busy))
            return took
    return once


EXPECTED = {}


def check(place, ending):
    """What was installed is the tree: so many files with so many bytes."""
    files = [path for path in (place / "node/store/trees").rglob("*") if path.is_file() and path.name != "manifest"]
    found = (len(files), sum(path.stat().st_size for path in files))
    assert ending == "txt" or found == EXPECTED["tree"], (ending, found, EXPECTED["tree"])


def fettle_again(disk, server, ending, instance):
    def once():
        with disk.fresh() as place:
            node = Service("--server", server.address, "node", "--root", place / "node")
            call = [FETTLE, "--server", server.address, "--node", node.address]
            run(*call, "install", f"bench/{ending}", stderr=subprocess.DEVNULL)
            again = ["instance", "create", "bench/1"] if instance else ["install", f"bench/{ending}"]
            began = time.monotonic()
            run(*call, *again, stderr=subprocess.DEVNULL)
            took = time.monotonic() - began
            node.stop()
            return took
    return once


def shell(disk, script, **values):
    def once():
        with disk.fresh() as place:
            (place / "out").mkdir()
            began = time.monotonic()
            run("sh", "-ec", script.format(**values), cwd=place)
            return time.monotonic() - began
    return once


def copy_links(disk, tree):
    def once():
        with disk.fresh() as place:
            shutil.copytree(tree, place / "tree", symlinks=True)
            run("sync")
            began = time.monotonic()
            run("cp", "-al", place / "tree", place / "copy")
            return time.monotonic() - began
    return once


def uv_program():
    """uv itself: a version manager's launcher in front of it takes longer to start than uv does."""
    with contextlib.suppress(ImportError):
        import uv
        return uv.find_uv_bin()
    return "uv"


def uv_installs(disk, server, wheels, work):
    lines = []
    for wheel in sorted(wheels.iterdir()):
        run(FETTLE, "--server", server.address, "object", "upload", f"wheels/{wheel.name}", wheel, stderr=subprocess.DEVNULL)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        name = wheel.name.split("-")[0]
        lines.append(f"{name} @ {server.address}/v1/objects/wheels/{wheel.name} --hash=sha256:{digest}")
    (work / "requirements.txt").write_text("\n".join(lines) + "\n")
    return shell(disk, "{uv} pip install -q --no-deps --require-hashes --no-index --cache-dir cache --target out -r {list}", uv=uv_program(), list=work / "requirements.txt")


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", default="")
    options.add_argument("--no-build", action="store_true")
    options.add_argument("--markdown", type=pathlib.Path)
    options = options.parse_args()
    if not options.no_build:
        build()
    with tempfile.TemporaryDirectory(prefix="fettle-bench-") as work:
        report(measure(pathlib.Path(work), options), options)


def measure(work, options):
    disk = Disk(work)
    tree, wheels = prepare(work)
    files = [path for path in tree.rglob("*") if path.is_file()]
    EXPECTED["tree"] = (len(files), sum(path.stat().st_size for path in files))
    server = Service("server", "--data", work / "server", "--listen", "127.0.0.1:0")
    try:
        publish(work, server.address)
        facts = {}
        chain = "curl -sSf -o a {url}; openssl dgst -sha256 a >digest; {unpack}; sync -f out"
        tar = "tar --no-same-owner --no-same-permissions {flag} -xf a -C out"
        ways = {
            "tar.zst": [("curl, openssl, tar --zstd, sync", shell(disk, chain, url=url(server.address, "tar.zst"), unpack=tar.format(flag="--zstd"))),
                        ("uv, cold", uv_installs(disk, server, wheels, work))],
            "tar.gz": [("curl, openssl, tar -z, sync", shell(disk, chain, url=url(server.address, "tar.gz"), unpack=tar.format(flag="-z")))],
            "zip": [("curl, openssl, unzip, sync", shell(disk, chain, url=url(server.address, "zip"), unpack="unzip -q a -d out")),
                    ("curl, openssl, ripunzip, sync", shell(disk, chain, url=url(server.address, "zip"), unpack="ripunzip -q unzip-file -d out a"))],
            "tar.bz2": [("tar -xj alone", shell(disk, tar.format(flag="-j").replace(" a ", f" {work}/tree.tar.bz2 ")))],
            "tar.xz": [("curl, openssl, tar -J, sync", shell(disk, chain, url=url(server.address, "tar.xz"), unpack=tar.format(flag="-J")))],
        }
        rows = [(ending, fettle_installs(disk, server, ending, facts), peers) for ending, peers in ways.items()]
        links = ("cp -al of the tree", copy_links(disk, tree))
        rows += [("second installation, the tree", fettle_again(disk, server, "tar.zst", False), [links]),
                 ("second instance, the tree", fettle_again(disk, server, "tar.zst", True), [links]),
                 ("second installation, one file", fettle_again(disk, server, "txt", False), [links])]
        results = []
        for name, ours, peers in rows:
            if options.only and options.only not in name:
                continue
            times = {"fettle": [], **{peer: [] for peer, _ in peers}}
            for _ in range(options.rounds):
                times["fettle"].append(ours())
                for peer, way in peers:
                    times[peer].append(way())
            results.append((name, times, facts.get(name, [])))
            print(name, {peer: [round(t, 3) for t in taken] for peer, taken in times.items()}, file=sys.stderr, flush=True)
        return disk.kind(), EXPECTED["tree"], results
    finally:
        server.stop()


def report(measured, options):
    kind, (files, size), results = measured
    lines = [
        f"{files} files, {size / 2**20:.0f} MiB, {kind}, {machine()}, medians of {options.rounds} rounds in turn.", "",
        "| cold install of | fettle | peer | peer's time | ratio | goal | | spread | cores busy | peak memory |",
        "|---|---|---|---|---|---|---|---|---|---|"]
    for name, times, facts in results:
        ours = statistics.median(times["fettle"])
        spread = (max(times["fettle"]) - min(times["fettle"])) / ours
        memory = f"{max(peak for peak, _ in facts) / 2**20:.0f} MiB" if facts else ""
        busy = f"{statistics.median(b for _, b in facts if b is not None):.2f}" if facts else ""
        for peer, taken in times.items():
            if peer == "fettle":
                continue
            ratio, goal = ours / statistics.median(taken), GOALS.get((name, peer))
            verdict = "" if goal is None else "met" if ratio <= goal else "**not met**"
            lines.append(f"| {name} | {ours:.3f} s | {peer} | {statistics.median(taken):.3f} s | {ratio:.2f} | "
                         f"{'' if goal is None else goal} | {verdict} | {spread:.0%} | {busy} | {memory} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text(text)


main()
