# Sourced by the other scripts: makes this checkout ready to run, and skips whatever is ready already.
#
#   . "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
#   sauda_setup run    the programs that a user needs
#   sauda_setup dev    those and the developer's tools (never taken away again by "run")
#
# Afterwards the working folder is the project's root, $SAUDA_ROOT names it, and .venv/bin/python and
# node_modules/.bin/pm2 work. Speaks on stderr only.

SAUDA_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"

_sauda_say() { printf 'sauda: %s\n' "$*" >&2; }
_sauda_die() { _sauda_say "$*"; exit 1; }

_sauda_hash() { # FILE... -> one hash of their contents
  if command -v sha256sum >/dev/null; then cat "$@" | sha256sum; else cat "$@" | shasum -a 256; fi | cut -c1-32
}

_sauda_fits() { "$@" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; }

_sauda_find_python() { # prints the path of a Python >= 3.12; 3.12 first, the locks are compiled for it
  local candidate
  for candidate in python3.12 python3 python python3.13 python3.14; do
    if command -v "$candidate" >/dev/null && _sauda_fits "$candidate"; then
      "$candidate" -c 'import sys; print(sys.executable)'
      return
    fi
  done
  if command -v uv >/dev/null && candidate="$(uv python find --no-python-downloads '>=3.12' 2>/dev/null)" \
    && _sauda_fits "$candidate"; then
    printf '%s\n' "$candidate"
    return
  fi
  for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[2-9]*/bin/python3 /opt/homebrew/bin/python3 /usr/local/bin/python3; do
    if [ -x "$candidate" ] && _sauda_fits "$candidate"; then printf '%s\n' "$candidate"; return; fi
  done
  return 1
}

_sauda_quietly() { # WHAT COMMAND...: run it with its output in the log; on failure one line that names the log
  local what="$1"; shift
  "$@" >>logs/setup.log 2>&1 || _sauda_die "could not $what: see logs/setup.log (last line: $(tail -n 1 logs/setup.log))"
}

_sauda_python_ready() { # KIND
  local kind="$1" stamp=.venv/.ready wanted lock python
  # A developer's .venv stays one: "run" must not take the tools away that "dev" installed.
  if [ "$kind" = run ] && [ -f "$stamp" ] && [ "$(head -n 1 "$stamp")" = dev ]; then kind=dev; fi
  lock="requirements/$kind.txt"
  # The path belongs to the stamp: a .venv holds absolute paths and does not survive being moved or copied.
  wanted="$(printf '%s\n%s\n%s' "$kind" "$(_sauda_hash "$lock" requirements/uv.txt pyproject.toml)" "$SAUDA_ROOT")"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && [ -x .venv/bin/python ]; then return; fi

  if [ -f "$stamp" ] && [ "$(tail -n 1 "$stamp")" != "$SAUDA_ROOT" ]; then rm -rf .venv; fi
  if ! [ -x .venv/bin/python ] || ! _sauda_fits .venv/bin/python; then
    python="$(_sauda_find_python)" \
      || _sauda_die "no Python 3.12 or newer found: install Python 3.12 (Debian, Ubuntu: python3.12 and python3.12-venv) and try again"
    _sauda_say "making .venv with $("$python" --version) (first start only)"
    rm -rf .venv
    "$python" -m venv .venv >>logs/setup.log 2>&1 \
      || { rm -rf .venv; _sauda_die "$python cannot make a .venv: install its venv package (Debian, Ubuntu: python3.12-venv) and try again"; }
  fi
  _sauda_say "installing Python packages ($lock)"
  [ -x .venv/bin/uv ] || _sauda_quietly "install uv" \
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
  # uv would otherwise ask itself which environment is meant, and a shell may have another one active.
  export VIRTUAL_ENV="$SAUDA_ROOT/.venv"
  # Compiled here once: ten processes begin together, and each would compile for itself (2 s of processor time apiece).
  _sauda_quietly "install the Python packages" \
    .venv/bin/uv pip sync --require-hashes --compile-bytecode --quiet "$lock"
  _sauda_quietly "install the sauda command" .venv/bin/uv pip install --quiet --no-deps -e .
  unset VIRTUAL_ENV
  printf '%s\n' "$wanted" >"$stamp"
}

_sauda_node_ready() {
  local stamp=node_modules/.ready wanted
  command -v node >/dev/null || _sauda_die "no Node.js found: install Node.js 20 or newer (it runs PM2) and try again"
  node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' \
    || _sauda_die "Node.js $(node --version) is too old: install Node.js 20 or newer and try again"
  wanted="$(_sauda_hash package-lock.json package.json)"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  command -v npm >/dev/null || _sauda_die "no npm found: install npm (it comes with Node.js 20) and try again"
  _sauda_say "installing PM2 (package-lock.json)"
  _sauda_quietly "install PM2" npm ci --no-progress --loglevel=error
  printf '%s\n' "$wanted" >"$stamp"
}

sauda_setup() { # run|dev
  cd "$SAUDA_ROOT"
  command -v git >/dev/null || _sauda_die "no git found: install git and try again"
  mkdir -p data logs
  # Two starts in one checkout take turns here; where there is no flock (macOS) the second simply must not be started yet.
  exec 9>data/.setup.lock
  if command -v flock >/dev/null && ! flock --nonblock 9; then
    _sauda_say "another start is setting this checkout up; waiting for it"
    flock 9
  fi
  _sauda_python_ready "$1"
  _sauda_node_ready
  .venv/bin/python -m compileall -q app scripts || true # a file that does not compile is reported by whoever runs it
  exec 9>&-
}
