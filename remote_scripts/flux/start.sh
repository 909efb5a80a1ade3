#!/bin/sh
# What a container of the flux image runs: the queue's worker on an endpoint, an SSH server on a pod.
#
#   start.sh            decides by the environment
#   start.sh PROGRAM …  runs PROGRAM in place of our own SSH server (RunPod's /start.sh)
#   start.sh check      0 while the front is there: the image's HEALTHCHECK
set -eu

scripts=${GPUCTL_SCRIPTS:-/opt/gpuctl}
front=${GPUCTL_FRONT_FILE:-/run/gpuctl-front}
sshd=${GPUCTL_SSHD:-/usr/sbin/sshd}
port=${GPUCTL_SSH_PORT:-22}

say() { printf 'gpuctl: %s\n' "$*" >&2; }

is_alive() { [ -s "$front" ] && kill -0 "$(cat "$front")" 2>/dev/null; }

is_listening() {
    wanted=$(printf ':%04X [0:]* 0A' "$port")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -q "$wanted"
}

admit() {
    umask 077
    mkdir -p "$HOME/.ssh"
    # Several keys may stand in it, one a line.
    printf '%s\n' "$PUBLIC_KEY" >>"$HOME/.ssh/authorized_keys"
    sort -u -o "$HOME/.ssh/authorized_keys" "$HOME/.ssh/authorized_keys"
    umask 022
    ssh-keygen -A
}

if [ "${1:-}" = check ]; then
    is_alive || exit 1
    [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ] || is_listening
    exit
fi

# exec keeps the process id: it is the front's own.
echo $$ >"$front"
if [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ]; then
    say "taking jobs from the endpoint's queue"
    exec python3 -B "$scripts/run.py" serverless flux
fi
if [ $# -gt 0 ]; then
    exec "$@"
fi
if [ -z "${PUBLIC_KEY:-}" ]; then
    say "neither a queue (RUNPOD_WEBHOOK_GET_JOB) nor a PUBLIC_KEY: nothing can bring a job"
    exit 2
fi
admit
say "an SSH server on port $port: jobs come with their own scripts"
exec "$sshd" -D -e -p "$port" -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password
