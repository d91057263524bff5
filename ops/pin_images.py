"""Write into Dockerfile and docker-compose.yml which image each tag is now: python ops/pin_images.py [--check].

A tag may be moved to another image; a digest is the image. Docker asks the registry that the name leads to. Commit what
this writes: then everybody builds and runs the same, until it is run again. With --check nothing is asked and nothing
written: exit code 1 names the images that have no digest yet.
"""  # noqa: INP001 - a script, in no package

import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent

#: Where images of others are named, and how. The name with its tag, then perhaps the digest that was written before.
_FILES = {
    "Dockerfile": re.compile(r"(?m)^(FROM )([a-z0-9./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?(?=\s|$)"),
    "docker-compose.yml": re.compile(r"(?m)^( +image: )([a-z0-9./-]+:[\w.-]+)(@sha256:[0-9a-f]{64})?(?=\s|$)"),
}
#: What is built here has no digest before it is built.
_OURS = "delivery-status:"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class PinError(Exception):
    """Says which image could not be looked up, and why."""


def images(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield file, name with tag, and whether there is a digest, of every image of others."""
    for name, pattern in _FILES.items():
        for found in pattern.finditer((folder / name).read_text(encoding="utf-8")):
            if not found[2].startswith(_OURS):
                yield name, found[2], found[3] is not None


def pin(folder: Path, digest_of: Callable[[str], str]) -> None:
    """Write the digest behind every tag; nothing is written unless all are known.

    Raises:
        PinError: an image could not be looked up.
    """
    digests = {image: digest_of(image) for image in dict.fromkeys(image for _, image, _ in images(folder))}

    def pinned(found: re.Match[str]) -> str:
        digest = digests.get(found[2])
        return found[0] if digest is None else f"{found[1]}{found[2]}@{digest}"

    for name, pattern in _FILES.items():
        path = folder / name
        path.write_text(pattern.sub(pinned, path.read_text(encoding="utf-8")), encoding="utf-8")


def digest_of(image: str) -> str:
    """Ask for the digest of an image's index, which holds those of all its platforms.

    Raises:
        PinError: docker is missing, or does not know.
    """
    command = ["docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}", image]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    except OSError as error:
        raise PinError(f"{image}: cannot run docker: {error.strerror}") from error
    digest = answer.stdout.strip()
    if answer.returncode or not _DIGEST.fullmatch(digest):
        raise PinError(f"{image}: {answer.stderr.strip() or digest or 'docker said nothing'}")
    return digest


def main(arguments: Iterable[str]) -> int:
    """Pin, or check; return the exit code."""
    if "--check" in arguments:
        loose = [f"{name}: {image} has no digest" for name, image, is_pinned in images(ROOT) if not is_pinned]
        sys.stderr.writelines(f"{line}: make pin-images\n" for line in loose)
        return 1 if loose else 0
    try:
        pin(ROOT, digest_of)
    except PinError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
