#!/bin/sh
# Print each Python from 3.10 to 3.13 that this machine has, on its path or kept by pyenv, but the one that is named.
# (3.14 when Faust has wheels for it.)
own=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
for version in 3.10 3.11 3.12 3.13; do
    [ "$version" = "$own" ] && continue
    for python in "$(command -v "python$version")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python; do
        # A shim of pyenv is there and does not run.
        "$python" -c 'import ssl, sqlite3, venv' 2>/dev/null && echo "$python" && break
    done
done
exit 0
