#!/usr/bin/env python3
"""Makes the inputs that the fuzzers begin with: small archives by real tools, and hostile ones.

    fuzz/seeds.py        writes fuzz/seeds/<target>/ anew (GNU tar, bsdtar, zip, bzip2, xz, zstd,
                         openssl)

`found-*` files are kept: a fuzzer found them, and they broke something once.
"""
import io, os, shutil, struct, subprocess, sys, tarfile, tempfile, zipfile, zlib

HERE = os.path.dirname(os.path.abspath(__file__))
SEEDS = os.path.join(HERE, "seeds")
TIME = 1_600_000_000


def main():
    for target in ("tar", "zip", "tree", "manifest", "application", "fields", "identity"):
        directory = os.path.join(SEEDS, target)
        os.makedirs(directory, exist_ok=True)
        for name in os.listdir(directory):
            if not name.startswith("found-"):
                os.remove(os.path.join(directory, name))
    tars, zips = {}, {}
    with tempfile.TemporaryDirectory() as tree:
        plant(tree)
        tars.update(tars_of_tools(tree))
        zips.update(zips_of_tools(tree))
    tars.update(hostile_tars())
    zips.update(hostile_zips())
    for name, data in tars.items():
        save("tar", name, data)
        save("tree", name, data)
    for name, data in zips.items():
        save("zip", name, data)
        save("tree", name, data)
    manifests()
    applications()
    fields()
    identity()


def save(target, name, data):
    with open(os.path.join(SEEDS, target, name), "wb") as file:
        file.write(data)


def plant(tree):
    """A tree with one of everything, small."""
    def put(name, data, mode=0o644):
        path = os.path.join(os.fsencode(tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
        os.chmod(path, mode)
    put(b"run", b"#!/bin/sh\n", 0o755)
    put(b"d/empty", b"")
    put("d/größe".encode(), b"x" * 600)
    put(b"d/" + b"n" * 120 + b"/" + b"m" * 60, b"long")
    with open(os.path.join(tree, "holes"), "wb") as file:
        for at in (0, 20_000, 60_000):
            file.seek(at)
            file.write(b"data")
        file.truncate(100_000)
    os.symlink("../run", os.path.join(tree, "d/link"))
    os.symlink("d", os.path.join(tree, "to-d"))
    os.link(os.path.join(tree, "run"), os.path.join(tree, "d/same"))
    for directory, names, files in os.walk(tree, topdown=False):
        for name in names + files + ["."]:
            os.utime(os.path.join(directory, name), (TIME, TIME), follow_symlinks=False)


def tool(tree, *command):
    done = subprocess.run(command, cwd=tree, stdout=subprocess.PIPE, check=True,
                          env=dict(os.environ, LC_ALL="C.UTF-8", TZ="UTC"))
    return done.stdout


def tars_of_tools(tree):
    made = {}
    plain = ["tar", "-b1", "--sort=name", "--owner=0", "--group=0", "--numeric-owner"]
    short = ["--exclude=n*", "--exclude=holes"]
    for form in ("v7", "ustar", "oldgnu", "gnu", "posix"):
        if form == "posix":
            extra = ["--pax-option=exthdr.name=%d/x/%f,delete=atime,delete=ctime"]
        else:
            extra = []
        skip = short if form in ("v7", "ustar") else ["--exclude=holes"]
        made[f"{form}.tar"] = tool(tree, *plain, f"--format={form}", *extra, *skip, "-cf-", ".")
    made["sparse-gnu.tar"] = tool(tree, *plain, "--format=gnu", "-Scf-", "holes")
    for version in ("0.0", "0.1", "1.0"):
        options = ["--pax-option=exthdr.name=x,delete=atime,delete=ctime", f"--sparse-version={version}"]
        made[f"sparse-{version}.tar"] = tool(tree, *plain, "--format=posix", *options, "-Scf-", "holes")
    made["bsd-pax.tar"] = tool(tree, "bsdtar", "-b1", "--uid=0", "--gid=0", "--format=pax", "--exclude=holes", "-cf-", ".")
    small = made["ustar.tar"]
    for name, command in {
        "gz": ["gzip", "-n9"], "bz2": ["bzip2", "-9"], "zst": ["zstd", "-q3", "-c"], "xz": ["xz", "-0", "-c"],
    }.items():
        packed = subprocess.run(command, input=small, stdout=subprocess.PIPE, check=True).stdout
        made[f"ustar.tar.{name}"] = packed
        made[f"cut.tar.{name}"] = packed[: len(packed) * 2 // 3]
        halves = [subprocess.run(command, input=part, stdout=subprocess.PIPE, check=True).stdout
                  for part in (small[:1000], small[1000:])]
        made[f"two-parts.tar.{name}"] = b"".join(halves)
    made["cut.tar"] = small[:1300]
    return made


def zips_of_tools(tree):
    made = {}
    names = ["run", "d/empty", "d/größe", "d/link", "d/"]
    for name, options in {"deflate": [], "stored": ["-0"], "bzip2": ["-Zbzip2"], "no-extra": ["-X"]}.items():
        out = os.path.join(tree, "out.zip")
        tool(tree, "zip", "-qy", *options, out, *names)
        made[f"{name}.zip"] = open(out, "rb").read()
        os.remove(out)
    piped = subprocess.run("zip -qy - run d/größe | cat", shell=True, cwd=tree, stdout=subprocess.PIPE, check=True)
    made["descriptors.zip"] = piped.stdout  # zip64 where it cannot seek
    streamed = "bsdtar --format=zip -cf - run d/größe d/link | cat"
    made["bsd.zip"] = subprocess.run(streamed, shell=True, cwd=tree, stdout=subprocess.PIPE, check=True,
                                     env=dict(os.environ, LC_ALL="C.UTF-8")).stdout
    made["zip64.zip"] = zip_of([("a", b"hello")], force_zip64=True)
    made["before.zip"] = b"#!/bin/sh\nexit\n" + made["stored.zip"]
    return made


def zip_of(files, force_zip64=False):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100644 << 16
            with archive.open(info, "w", force_zip64=force_zip64) as file:
                file.write(data)
    return out.getvalue()


def member(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname, info.mode, info.mtime = kind, len(data), link, mode, TIME
    blocks = info.tobuf(tarfile.GNU_FORMAT)
    return blocks + data + bytes(-len(data) % 512)


def hostile_tars():
    end, link, hard = bytes(1024), tarfile.SYMTYPE, tarfile.LNKTYPE
    absolute = "/dev/shm/fettle-fuzz-escaped"
    made = {
        "bad-parent": member("../canary", data=b"dead"),
        "bad-parent-inside": member("a/../../canary", data=b"dead"),
        "bad-absolute": member(absolute, data=b"dead"),
        "bad-link-absolute": member("l", link, link=absolute) + member("l", data=b"dead"),
        "bad-link-out": member("l", link, link="../canary"),
        "bad-link-through": member("l", link, link="..") + member("l/canary", data=b"dead"),
        "bad-link-chain": member("a/b", link, link="../c") + member("c", link, link="d") + member("d", link, link="e/../.."),
        "bad-link-circle": member("a", link, link="b/..") + member("b", link, link="a"),
        "bad-link-many": b"".join(member(f"l{n}", link, link=f"l{n + 1}/l{n + 1}") for n in range(20)),
        "bad-hard-out": member("h", hard, link="../canary"),
        "bad-hard-later": member("h", hard, link="f") + member("f", data=b"late"),
        "bad-under-file": member("f", data=b"x") + member("f/g", data=b"y"),
        "bad-kinds": member("f", data=b"x") + member("f", tarfile.DIRTYPE),
        "bad-device": member("d", tarfile.CHRTYPE),
        "bad-fifo": member("p", tarfile.FIFOTYPE),
        "twice": member("f", data=b"one") + member("h", hard, link="f") + member("f", data=b"two"),
        "twice-link": member("f", link, link="g") + member("f", data=b"two") + member("f", link, link="f"),
        "self-hard": member("f", data=b"one") + member("f", hard, link="f"),
        "size-too-long": member("f", data=b"x")[:512],
        "link-with-size": resized(member("l", link, link="f"), 600) + bytes(1024),
        # PAX and the header tell different sizes: readers lose step.
        "desync": pax([("size", "3")]) + member("f", data=b"x" * 600),
        "desync-more": pax([("size", "1200")]) + member("f", data=b"x" * 600) + member("g"),
        "pax-all": pax([("path", "p/q"), ("mtime", "-1.5"), ("uid", "5"), ("SCHILY.xattr.user.a", "b")]) + member("f", data=b"x"),
        "pax-global": pax([("mtime", "9")], b"g") + member("f", data=b"x"),
        "pax-link": pax([("linkpath", "../canary")]) + member("f", link, link="g"),
        "base-256": member("f", data=b"x").replace(oct(TIME)[2:].encode(), b"\x80" + bytes(6) + struct.pack(">I", TIME), 1),
        "lone-zero": member("a", data=b"x") + bytes(512) + member("b", data=b"y"),
        "not-utf8": member("\udcff\udcfe", data=b"x"),
    }
    return {f"{name}.tar": mended(data + end) for name, data in made.items()}


def resized(blocks, size):
    return blocks[:124] + b"%011o\0" % size + blocks[136:]


def pax(records, kind=b"x"):
    data = b""
    for key, value in records:
        rest = f" {key}={value}\n".encode()
        length = len(rest) + 1
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        data += str(length).encode() + rest
    return member("x", kind, data)


def mended(tar):
    """The first headers' checksums put right; content that looks like a header is none of ours."""
    blocks = [tar[at:at + 512] for at in range(0, len(tar), 512)]
    for at, block in enumerate(blocks):
        if block[257:262] == b"ustar":
            summed = sum(block[:148]) + 8 * 32 + sum(block[156:])
            blocks[at] = block[:148] + b"%06o\0 " % summed + block[156:]
    return b"".join(blocks)


def hostile_zips():
    made = {
        "bad-parent.zip": zip_of([("../canary", b"dead")]),
        "bad-absolute.zip": zip_of([("/dev/shm/fettle-fuzz-escaped", b"dead")]),
        "twice.zip": zip_of([("a", b"one"), ("b", b"two")]).replace(b"b", b"a"),
        "under-file.zip": zip_of([("a", b"one"), ("a/b", b"two")]),
    }
    good = zip_of([("name", b"hello hello hello hello")])
    made["local-name.zip"] = good.replace(b"name", b"eman", 1)
    at = good.index(b"PK\x01\x02")
    made["local-crc.zip"] = good[:14] + b"\0\0\0\0" + good[18:]
    made["directory-crc.zip"] = good[: at + 16] + b"\0\0\0\0" + good[at + 20:]
    made["directory-size.zip"] = good[: at + 24] + struct.pack("<I", 5) + good[at + 28:]
    made["cut.zip"] = good[:-10]
    made["two-ends.zip"] = good + good
    made["comment.zip"] = good[:-2] + struct.pack("<H", 5) + b"hello"
    link = io.BytesIO()
    with zipfile.ZipFile(link, "w") as archive:
        for name, target in (("out", b"../canary"), ("in", b"out")):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, 0o120777 << 16
            archive.writestr(info, target)
    made["bad-link.zip"] = link.getvalue()
    device = io.BytesIO()
    with zipfile.ZipFile(device, "w") as archive:
        info = zipfile.ZipInfo("device")
        info.create_system, info.external_attr = 3, 0o020666 << 16
        archive.writestr(info, b"")
    made["bad-device.zip"] = device.getvalue()
    made["zstd.zip"] = packed_zip(93, subprocess.run(["zstd", "-q", "-c"], input=b"hello" * 9, stdout=subprocess.PIPE, check=True).stdout, b"hello" * 9)
    return made


def packed_zip(method, packed, data):
    """One file, packed in a way that zipfile does not write."""
    common = struct.pack("<HHHHHIIIHH", 20, 0, method, 0, 0x5821, zlib.crc32(data), len(packed), len(data), 1, 0)
    local = b"PK\x03\x04" + common + b"f" + packed
    record = b"PK\x01\x02" + struct.pack("<H", 0x031E) + common + struct.pack("<HHHII", 0, 0, 0, 0o100644 << 16, 0) + b"f"
    return local + record + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(record), len(local), 0)


def manifests():
    digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    lines = [
        '{"path":"d","kind":"directory","mode":"0555","size":null,"sha256":null,"target":null,"modified":[1,0]}',
        '{"path":"d/f","kind":"file","mode":"0444","size":5,"sha256":"%s","target":null,"modified":[-2,5]}' % digest,
        '{"path":"l","kind":"symlink","mode":null,"size":null,"sha256":null,"target":"d/%FF","modified":null}',
        '{"path":"h%25","kind":"hard-link","mode":null,"size":null,"sha256":null,"target":"d/f","modified":null,"replaces":true}',
    ]
    for at, line in enumerate(lines):
        save("manifest", f"line-{at}", (line + "\n").encode())
    save("manifest", "all", "".join(line + "\n" for line in lines).encode())
    save("manifest", "bad-path", (lines[1].replace("d/f", "../f") + "\n").encode())
    save("manifest", "bad-last", b'{"entries":0,"sha256":"%s"}\n' % digest.encode())
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    save("manifest", "empty", b'{"entries":0,"sha256":"%s"}\n' % empty.encode())


def applications():
    head = 'title = "Weather"\nname = "demo/weather"\nversion = "1.4.0-rc.1"\n'
    texts = {
        "small": head + '[program]\nany = "run.sh"\n',
        "all": head + """args = ["--port", "80"]
[env]
LANG = "C"
[program]
linux-amd64 = { package = "app", path = "bin/weather" }
any = "run.sh"
[packages]
app = "dist/"
model = { path = "model.tar.gz", writable = true }
fonts = { object = "shared/fonts/3" }
[restart]
on = "always"
limit = 3
window = 2.5
""",
        "no-package": head + '[program]\nany = { package = "absent", path = "x" }\n',
        "two-sources": head + '[program]\nany = "x"\n[packages]\np = { path = "a", object = "b" }\n',
        "bad-version": head.replace("1.4.0-rc.1", "1.4") + '[program]\nany = "x"\n',
        "nul": head + 'args = ["a\\u0000b"]\n[program]\nany = "x"\n',
        "unknown-key": "größe = 1\n" + head,
        "unfinished": head + "[program\n",
    }
    for name, text in texts.items():
        save("application", name, text.encode())


def fields():
    digest = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="
    date = "Sun, 22 Nov 2026 12:00:00 GMT"
    tag = '"sha256:aa"'
    texts = {
        "from-to": "10\nrange: bytes=2-4",
        "from": f"10\nrange: bytes=5-\nif-range: {tag}",
        "suffix": f"10\nrange: bytes=-3\nif-range: {date}",
        "several": "10\nrange: bytes=0-1,3-4",
        "huge": "18446744073709551615\nrange: bytes=0-18446744073709551616",
        "empty": "0\nrange: bytes=-1",
        "if-match": f'10\nif-match: "x", {tag}\nif-unmodified-since: {date}',
        "if-none-match": f"10\nif-none-match: W/{tag}\nif-modified-since: {date}",
        "digest": f"10\ncontent-digest: sha-512=:AAAA:, sha-256=:{digest}: ;x=1\nrepr-digest: sha-256=:{digest}:",
        "media": "10\ncontent-type: application/x-tar; charset=utf-8\ncontent-encoding: gzip",
    }
    for name, text in texts.items():
        save("fields", name, text.encode())


def identity():
    """A root, a signing certificate and leaves, as docs/identity.md has them; and some that say too much."""
    oid = "2.25.4871365920773041657"
    usage = f"extendedKeyUsage={oid}.2"
    authority = f"basicConstraints=critical,CA:true\nkeyUsage=keyCertSign\n{usage}"
    with tempfile.TemporaryDirectory() as place:
        def openssl(*words):
            run = subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)
            return run.stdout
        def make(name, extensions, by=None):
            with open(os.path.join(place, name + ".ext"), "w") as file:
                file.write(f"[x]\n{extensions}\n")
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", name + ".key")
            openssl("req", "-new", "-key", name + ".key", "-subj", f"/CN={name}", "-out", name + ".csr")
            signer = ["-CA", by + ".pem", "-CAkey", by + ".key", "-CAcreateserial"] if by else ["-signkey", name + ".key"]
            openssl("x509", "-req", "-in", name + ".csr", *signer, "-days", "30000", "-extfile", name + ".ext",
                    "-extensions", "x", "-out", name + ".pem")
            der = openssl("x509", "-in", name + ".pem", "-outform", "DER")
            save("identity", name, der)
            return open(os.path.join(place, name + ".pem")).read()
        def named(uri):
            return f"subjectAltName={uri}\n{usage}"
        root = make("root", f"{authority}\n{oid}.1=ASN1:UTF8String:acme")
        alice = make("alice-signing", f"{authority}\n{oid}.1=ASN1:UTF8String:acme/alice", "root")
        leaf = make("alice", named("URI:spiffe://acme/alice"), "root")
        laptop = make("laptop", named("URI:spiffe://acme/alice/laptop"), "alice-signing")
        make("two-names", named("URI:spiffe://acme/alice,URI:spiffe://acme/admin"), "root")
        make("climbing", named("URI:spiffe://acme/../admin"), "root")
        make("too-much", named("URI:spiffe://acme/admin"), "alice-signing")
        make("with-a-name", f"{authority}\n{oid}.1=ASN1:UTF8String:acme/x\n{named('URI:spiffe://acme/x')}", "root")
        request = open(os.path.join(place, "laptop.csr")).read()
        save("identity", "chain", (laptop + leaf + alice + root).encode())
        save("identity", "request", f"for people\n{request}".encode())


if __name__ == "__main__":
    sys.exit(main())
