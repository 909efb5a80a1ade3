#!/usr/bin/env bash
# Makes the Python and the model that IndexTTS runs on, once per volume; its last line on stdout is
# `python=PATH`. Everything it does is resumed where it stopped, checked, and logged to bootstrap.log.
#
#   bootstrap.sh                      set up what is missing
#   bootstrap.sh --check              compare every model file's hash, fetch again what is damaged
#   bootstrap.sh -- handler.py [ARG]  set up, then become that program
#
# Environment: INDEXTTS_HOME, INDEXTTS_REF (a tag), INDEXTTS_VERSION (2 or 2.5), CHECKPOINTS_DIR,
# INDEXTTS_REPO, INDEXTTS_MODEL, INDEXTTS_MODEL_REVISION, USE_DEEPSPEED, HF_TOKEN, HF_ENDPOINT.
set -Eeuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

version=${INDEXTTS_VERSION:-2}
ref=${INDEXTTS_REF:-v2.5.0}
source_url=${INDEXTTS_REPO:-https://github.com/index-tts/index-tts.git}
uv_pin=0.13.8
hub_pin=2.4.0
kept='^(protobuf|numpy|numba|llvmlite|scipy|pandas|torch|torchaudio|torchvision|triton|transformers|tokenizers|safetensors|huggingface[-_]hub|tensorboard|keras)=='
if mountpoint -q /runpod-volume 2>/dev/null; then volume=/runpod-volume; else volume=${GPUCTL_WORKSPACE:-/workspace}; fi
home=${INDEXTTS_HOME:-$volume/indextts}
venv=$home/venv
src=$home/src
log=$home/bootstrap.log
lock=$home/.bootstrap.lock
lock_stale_s=${BOOTSTRAP_LOCK_STALE_S:-300}

case $version in
    2)
        repo=IndexTeam/IndexTTS-2 folder=checkpoints
        required=(config.yaml bpe.model gpt.pth s2mel.pth wav2vec2bert_stats.pt feat1.pt feat2.pt)
        ;;
    2.5)
        repo=IndexTeam/IndexTTS-2.5 folder=checkpoints_2_5
        required=(config.yaml gpt.pth s2mel.pth codec.pth)
        ;;
    *)
        echo "INDEXTTS_VERSION is '$version': set it to 2 or 2.5" >&2
        exit 2
        ;;
esac
models=${CHECKPOINTS_DIR:-$home/$folder}
manifest=$models/.gpuctl-verified
repo=${INDEXTTS_MODEL:-$repo}

say() { printf '%s %s\n' "$(date -u +%H:%M:%S)" "$*" | tee -a "$log" >&2; }
fail() { say "failed: $*"; exit 1; }
# Output of tools goes to the log and to stderr: stdout carries one line, the answer.
trap 'say "stopped; the next start goes on from there"' ERR
run() { say "+ $*"; "$@" 2>&1 | tee -a "$log" >&2; }

main() {
    local check=no
    if [ "${1:-}" = --check ]; then check=yes; shift; fi
    if [ "${1:-}" = -- ]; then shift; fi
    if [ "${GPUCTL_ENGINE:-}" = sim ]; then become python3 "$@"; return; fi
    mkdir -p "$home/audio_voices" "$home/output_audio" "$models"
    if [ "$check" = yes ] || ! is_ready; then
        take_lock
        # Another worker on this volume may have done it while this one waited.
        if [ "$check" = yes ] || ! is_ready; then set_up "$check"; fi
        release_lock
    fi
    become "$venv/bin/python" "$@"
}

become() {
    local python=$1
    shift
    printf 'python=%s\n' "$python"
    if [ $# -gt 0 ]; then
        local program=$1
        shift
        case $program in /*) ;; *) program=$here/$program ;; esac
        exec "$python" -B "$program" "$@"
    fi
}

set_up() {
    say "IndexTTS $version at $ref into $home"
    system_programs
    fetch_source
    make_venv
    fetch_models "$1"
    say "ready"
}

stamp() { printf '%s %s %s\n' "$ref" "$(sha256sum <"$here/requirements.txt" | cut -c1-16)" "${USE_DEEPSPEED:-false}"; }

# What every start pays: three small files and the sizes of the model's.
is_ready() {
    [ "$(cat "$src/.gpuctl-ref" 2>/dev/null)" = "$ref" ] &&
        [ "$(cat "$venv/.gpuctl-ready" 2>/dev/null)" = "$(stamp)" ] &&
        [ -x "$venv/bin/python" ] && have_models
}

have_models() {
    [ -s "$manifest" ] || return 1
    local hash size name
    while read -r hash size name; do
        [ "$(stat -c %s "$models/$name" 2>/dev/null)" = "$size" ] || return 1
    done <"$manifest"
}

system_programs() {
    local missing=() program
    for program in git ffmpeg; do command -v "$program" >/dev/null || missing+=("$program"); done
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            fail "not installed: ${missing[*]}. Install them and run this again"
        fi
        run apt-get update -qq
        run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" ca-certificates
    fi
    export PATH=$home/tools/bin:$PATH
    if ! command -v uv >/dev/null; then
        run python3 -m pip install -q --no-input --disable-pip-version-check --target "$home/tools" "uv==$uv_pin"
    fi
}

fetch_source() {
    if [ "$(cat "$src/.gpuctl-ref" 2>/dev/null)" = "$ref" ]; then return; fi
    export GIT_LFS_SKIP_SMUDGE=1 GIT_TERMINAL_PROMPT=0
    rm -f "$src/.gpuctl-ref"
    if [ ! -d "$src/.git" ]; then
        mkdir -p "$src"
        run git -C "$src" init -q
    fi
    # By name, so that a tag, a branch and a commit all work, and none of the history is fetched.
    run git -C "$src" fetch -q --depth 1 "$source_url" "$ref"
    run git -C "$src" checkout -q --force --detach FETCH_HEAD
    printf '%s\n' "$ref" >"$src/.gpuctl-ref"
}

make_venv() {
    if [ "$(cat "$venv/.gpuctl-ready" 2>/dev/null)" = "$(stamp)" ] && [ -x "$venv/bin/python" ]; then return; fi
    rm -f "$venv/.gpuctl-ready"
    local extras=()
    if [ "${USE_DEEPSPEED:-false}" = true ]; then extras=(--extra deepspeed); fi
    # uv's cache beside the venv: on one disk it links instead of copying, and a retry fetches nothing twice.
    export UV_CACHE_DIR=$home/.uv-cache UV_PYTHON_INSTALL_DIR=$home/python UV_PROJECT_ENVIRONMENT=$venv
    run uv sync --frozen --no-dev --project "$src" --python 3.11 ${extras[@]+"${extras[@]}"}
    # RunPod's SDK, through its own dependencies, would lift protobuf from 3 to 7, which tensorboard and
    # descript-audiotools of that lock cannot be imported with: what the model stands on stays as it is.
    uv pip freeze --python "$venv/bin/python" 2>>"$log" | grep -E "$kept" >"$venv/.gpuctl-kept" || true
    run uv pip install --python "$venv/bin/python" --override "$venv/.gpuctl-kept" -r "$here/requirements.txt"
    stamp >"$venv/.gpuctl-ready"
}

hub() {
    if command -v hf >/dev/null; then
        run hf "$@"
    else
        UV_CACHE_DIR=$home/.uv-cache run uv tool run --from "huggingface_hub==$hub_pin" hf "$@"
    fi
}

fetch_models() {
    if [ "$1" = no ] && have_models; then return; fi
    local attempt damaged
    for attempt in 1 2 3; do
        hub download "$repo" --revision "${INDEXTTS_MODEL_REVISION:-main}" --local-dir "$models" ||
            { [ "$attempt" -lt 3 ] || fail "the model cannot be fetched from $repo"; continue; }
        damaged=$(verify) && return
        say "damaged: $damaged"
    done
    fail "still damaged after three attempts: $damaged"
}

# The hub's client notes each file's hash as the server gave it: sha256 of large ones, git's of the others.
verify() {
    local notes=$models/.cache/huggingface/download part=$manifest.$$ bad=() note name hash
    : >"$part"
    while IFS= read -r note; do
        name=${note#"$notes/"}
        name=${name%.metadata}
        hash=$(sed -n 2p "$note")
        if [ -f "$models/$name" ] && [ "$(hash_like "$hash" "$models/$name")" = "$hash" ]; then
            printf '%s %s %s\n' "$hash" "$(stat -c %s "$models/$name")" "$name" >>"$part"
        else
            bad+=("$name")
            rm -f "$models/$name" "$note"
        fi
    done < <(find "$notes" -name '*.metadata' 2>/dev/null | sort)
    for name in "${required[@]}"; do
        if ! grep -q " $name\$" "$part"; then bad+=("$name"); fi
    done
    if [ ${#bad[@]} -gt 0 ]; then
        rm -f "$part" "$manifest"
        printf '%s\n' "${bad[@]}" | sort -u | tr '\n' ' '
        return 1
    fi
    mv "$part" "$manifest"
}

hash_like() {
    if [ ${#1} = 64 ]; then sha256sum <"$2" | cut -d' ' -f1; else git hash-object --no-filters -- "$2"; fi
}

# A folder is made by one alone, on network volumes too, where flock does not reach other machines.
take_lock() {
    local said=no
    until mkdir "$lock" 2>/dev/null; do
        if [ $(($(date +%s) - $(stat -c %Y "$lock" 2>/dev/null || date +%s))) -gt "$lock_stale_s" ]; then
            say "the set-up that held the lock is gone; taking over"
            rmdir "$lock" 2>/dev/null || true
            continue
        fi
        if [ $said = no ]; then say "another worker is setting up this volume; waiting"; said=yes; fi
        sleep 2
    done
    # Without the answer's pipe: who reads it must not wait for this one.
    (while sleep 20; do touch -c "$lock" 2>/dev/null || exit 0; done) >/dev/null 2>&1 &
    beat=$!
    trap release_lock EXIT
}

release_lock() {
    if [ -n "${beat:-}" ]; then kill "$beat" 2>/dev/null || true; fi
    beat=
    rmdir "$lock" 2>/dev/null || true
    trap - EXIT
}

main "$@"
