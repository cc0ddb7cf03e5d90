#!/usr/bin/env bash
# Prints the supported Python interpreters of this machine, one a line, the preferred one first.
# Looks on PATH and in pyenv's folder, where an interpreter need not be active to be used.
#
# 3.14 comes last: all locked packages have wheels for it, but the tests have not run on it yet.
set -euo pipefail

for version in 3.13 3.12 3.11 3.14; do
  for candidate in "python$version" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
    found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2], sys.executable)' 2>/dev/null || true)
    if [[ $found == "$version "* ]]; then
      echo "${found#* }"
      break
    fi
  done
done
