#!/bin/bash
# What a container of the video image runs: the models, ComfyUI, then the service; on an endpoint the
# queue's worker in the service's place.
#
#   entrypoint.sh         all of it
#   entrypoint.sh check   0 while the front answers: the image's HEALTHCHECK
#
# VIDEO_MODELS   names of the models to bring (blanks between), or none; unset: the default ones
# COMFYUI_ARGS   more arguments for ComfyUI, such as --highvram
# COMFYUI_WAIT_S how long ComfyUI may take to answer (120)
# SERVER_ADDRESS host of a ComfyUI that runs elsewhere; then none is started here
set -euo pipefail

scripts=${GPUCTL_SCRIPTS:-/opt/gpuctl}
comfyui=${COMFYUI_DIR:-/ComfyUI}
wait_s=${COMFYUI_WAIT_S:-120}
sshd=${GPUCTL_SSHD:-/usr/sbin/sshd}
address=${SERVER_ADDRESS:-127.0.0.1}
host=${address%%:*}
port=8188
if [ "$host" != "$address" ]; then port=${address##*:}; fi
service_port=${SERVICE_PORT:-8080}

say() { printf 'gpuctl: %s\n' "$*" >&2; }

if [ "${1:-}" = check ]; then
    [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ] && exec curl -fsS "http://$host:$port/system_stats" -o /dev/null
    token=${SERVICE_TOKEN:-}
    # In a file that nobody else reads: a command line is seen by everybody on the machine.
    exec curl -fsS -o /dev/null -K - <<<"url = \"http://127.0.0.1:$service_port/health\"
header = \"Authorization: Bearer $token\""
fi

export GPUCTL_WORKSPACE=${GPUCTL_WORKSPACE:-/workspace}
mkdir -p "$GPUCTL_WORKSPACE/run"
# Pods have their volume at /workspace, endpoints at /runpod-volume: one name for both.
if [ -z "${MODEL_VOLUME:-}" ] && [ ! -e /runpod-volume ] && [ -d /workspace ]; then
    ln -s /workspace /runpod-volume
fi
starting=$GPUCTL_WORKSPACE/run/video.starting
failed=$GPUCTL_WORKSPACE/run/video.failed
log=$GPUCTL_WORKSPACE/run/comfyui.log
rm -f "$failed"

# Whoever waits for the service reads here what it waits for; an old note is of a start that died.
note() {
    say "$1"
    printf '%s\n' "$1" >"$starting"
}

fail() {
    say "$1"
    printf '%s\n' "$1" >"$failed"
    rm -f "$starting"
    if [ -n "$keep_fresh" ]; then kill "$keep_fresh" 2>/dev/null || true; fi
    # A pod stays reachable, so that the reason can be read; anything else says it by its end.
    if [ -n "${PUBLIC_KEY:-}" ]; then exec sleep infinity; fi
    exit 1
}

admit() {
    umask 077
    mkdir -p "$HOME/.ssh"
    printf '%s\n' "$PUBLIC_KEY" >>"$HOME/.ssh/authorized_keys"
    sort -u -o "$HOME/.ssh/authorized_keys" "$HOME/.ssh/authorized_keys"
    umask 022
    ssh-keygen -A >/dev/null
    mkdir -p /run/sshd
    "$sshd" -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password
}

bring_models() {
    local names=() said="$GPUCTL_WORKSPACE/run/video.models.log"
    read -ra names <<<"${VIDEO_MODELS:-}"
    note "looking after the models on ${MODEL_VOLUME:-/runpod-volume}"
    (cd "$scripts" && python3 -B -m video.models "${names[@]}") 2>&1 \
        | tee "$said" \
        | while IFS= read -r line; do note "$line"; done \
        || fail "the models did not come: $(tail -n 1 "$said")"
}

start_comfyui() {
    local options=(--listen 127.0.0.1 --port "$port" --disable-auto-launch)
    if [ -f "$comfyui/extra_model_paths.yaml" ]; then
        options+=(--extra-model-paths-config "$comfyui/extra_model_paths.yaml")
    fi
    if python3 -c 'import sageattention' 2>/dev/null; then options+=(--use-sage-attention); fi
    read -ra more <<<"${COMFYUI_ARGS:-}"
    # One that dies, for memory or otherwise, is started again: its job is told, the next one runs.
    (
        cd "$comfyui"
        child=''
        trap 'kill "$child" 2>/dev/null; exit' TERM
        while true; do
            code=0
            python3 main.py "${options[@]}" "${more[@]}" >>"$log" 2>&1 &
            child=$!
            wait "$child" || code=$?
            say "ComfyUI ended with $code; it is started again (see $log)"
            sleep 2
        done
    ) &
    loop=$!
}

wait_for_comfyui() {
    local deadline=$((SECONDS + wait_s))
    note "ComfyUI is starting"
    until curl -fs -m 5 "http://$host:$port/system_stats" -o /dev/null; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            # Not a start that goes on unseen: what was begun is ended.
            if [ -n "$loop" ]; then kill "$loop" 2>/dev/null || true; fi
            fail "ComfyUI does not answer at $host:$port after $wait_s s: $(tail -n 8 "$log" 2>/dev/null)"
        fi
        sleep 0.5
    done
}

keep_fresh='' loop=''
(while sleep 5; do if [ -f "$starting" ]; then touch -c "$starting"; else break; fi; done) &
keep_fresh=$!
note "starting"
if [ -n "${PUBLIC_KEY:-}" ] && [ -z "${RUNPOD_WEBHOOK_GET_JOB:-}" ]; then admit; fi
if [ "${VIDEO_MODELS:-}" != none ]; then bring_models; fi
case $host in
127.* | localhost)
    : >"$log"
    start_comfyui
    ;;
esac
wait_for_comfyui
# The service itself takes the note away when it listens: until then nobody starts another.
front=service
if [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ]; then
    front=serverless
    rm -f "$starting"
fi
say "ComfyUI answers; the front is $front"
exec python3 -B "$scripts/run.py" "$front" video
