#!/usr/bin/env python3
"""Pack a root filesystem into a docker-archive that containerd, docker and kind can load. The same files give the same archive.

    mkimage.py ROOTFS OUT.tar localhost/name:tag --entrypoint '["/usr/bin/program"]' --env LANG=C.UTF-8
"""
import argparse, hashlib, io, json, os, tarfile, tempfile

cli = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
cli.add_argument("rootfs")
cli.add_argument("archive")
cli.add_argument("name", help="full name with a registry part, e.g. localhost/postgres:17")
cli.add_argument("--tag", action="append", default=[], help="a further full name, repeatable")
cli.add_argument("--entrypoint", type=json.loads, default=[], help="JSON list")
cli.add_argument("--env", action="append", default=[], help="NAME=value, repeatable")
cli.add_argument("--user", default="", help="default: root")
cli.add_argument("--stop-signal", default="SIGTERM")
args = cli.parse_args()


def member(entry):
    """Leave out what the runtime mounts itself, and what differs from build to build: times, and names of this machine."""
    if entry.name.split("/")[0] in ("dev", "proc", "sys") and "/" in entry.name:
        return None
    entry.uname = entry.gname = ""
    entry.mtime = 0
    return entry


def add_bytes(tar, name, data):
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


with tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.abspath(args.archive))) as layer:
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for top in sorted(os.listdir(args.rootfs)):
            tar.add(os.path.join(args.rootfs, top), arcname=top, filter=member)
    layer.seek(0)
    digest = hashlib.file_digest(layer, "sha256").hexdigest()
    config = json.dumps({
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "User": args.user, "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"] + args.env,
            "Entrypoint": args.entrypoint, "WorkingDir": "/", "StopSignal": args.stop_signal,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z"}],
    }).encode()
    config_name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": config_name, "RepoTags": [args.name] + args.tag, "Layers": [f"{digest}/layer.tar"]}]
    with tarfile.open(args.archive + ".part", "w") as out:
        add_bytes(out, "manifest.json", json.dumps(manifest).encode())
        add_bytes(out, config_name, config)
        info = member(out.gettarinfo(layer.name, arcname=f"{digest}/layer.tar"))
        layer.seek(0)
        out.addfile(info, layer)
    os.replace(args.archive + ".part", args.archive)
