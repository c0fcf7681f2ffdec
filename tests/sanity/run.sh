#!/bin/bash
# Copyright (c) 2026, llmops.user_bridge contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Builds the collection and runs ansible-test sanity on what was built. Arguments go to ansible-test, e.g. --test pep8.
set -euo pipefail
cd "$(dirname "$0")/../.."
repo=$PWD
PATH=$repo/.venv/bin:$PATH
work=${USER_BRIDGE_CACHE:-$repo/.cache}/sanity
mkdir -p "$work"
exec 9>"$work/lock"
flock 9

# ansible-test keeps its own environments under HOME; they are worth keeping between runs.
export HOME=$work/home ANSIBLE_HOME=$work/home/.ansible
unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_CONFIG

# It wants to be inside of .../ansible_collections/NAMESPACE/NAME, not behind a link, with the dependencies beside it.
root=$work/ansible_collections
rm -rf "$root" "$work/build"
mkdir -p "$root/llmops/user_bridge" "$root/community"
ansible-galaxy collection build --output-path "$work/build" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
tar -xzf "$work"/build/llmops-user_bridge-*.tar.gz -C "$root/llmops/user_bridge"
site_packages=$(python -c 'import ansible_collections.community, os; print(os.path.dirname(*ansible_collections.community.__path__))')
ln -s "$site_packages/community/postgresql" "$root/community/postgresql"

cd "$root/llmops/user_bridge"
mkdir -p tests/sanity
cp "$repo"/tests/sanity/ignore-*.txt tests/sanity/ 2>/dev/null || true
# It asks git which files there are.
printf 'tests/output/\n' >.gitignore
git init -q
git add -A

# It would download get-pip.py of this name from a server of its own; this one runs the same pip from PyPI.
wheels=$work/wheels
[ -f "$wheels/pip-24.2-py3-none-any.whl" ] || python -m pip download -q --no-deps --dest "$wheels" pip==24.2
cache=$HOME/.ansible/test/cache
mkdir -p "$cache"
cat >"$cache/get_pip_24_2.py" <<EOF
import runpy
import sys

sys.path.insert(0, "$wheels/pip-24.2-py3-none-any.whl")
# Options of get-pip.py that pip does not have.
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.argv[1:] = ["install", "--no-warn-script-location", *options]
runpy.run_module("pip", run_name="__main__")
EOF

exec ansible-test sanity --local --python "$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')" "$@"
