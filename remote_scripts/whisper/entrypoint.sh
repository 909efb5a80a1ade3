#!/bin/sh
# What the container starts with, under tini: looks at the GPU, opens ssh for gpuctl, makes room for
# the model on the volume, then becomes the service. Every line it prints is one JSON object.
set -eu

GPUCTL_WORKSPACE=${GPUCTL_WORKSPACE:-/workspace}
WHISPER_CACHE=${WHISPER_CACHE:-$GPUCTL_WORKSPACE/.cache/whisper}
export GPUCTL_WORKSPACE WHISPER_CACHE
scripts=$(cd "$(dirname "$0")/.." && pwd)
user=whisper

say() { # LEVEL MESSAGE
    text=$(printf '%s' "$2" | tr '\n\t' '  ' | sed 's/\\/\\\\/g; s/"/\\"/g')
    printf '{"ts": %s, "level": "%s", "logger": "entrypoint", "message": "%s"}\n' "$(date +%s)" "$1" "$text"
}

gpus=$(nvidia-smi -L 2>/dev/null || true)
if [ -n "$gpus" ]; then
    say info "GPU: $gpus"
else
    say warning "no GPU is seen: transcribing on the processor, as int8"
fi

is_root=false
[ "$(id -u)" -eq 0 ] && is_root=true

# RunPod's convention: whoever's keys are in PUBLIC_KEY may log in as root.
if [ -n "${PUBLIC_KEY:-}" ] && $is_root; then
    mkdir -p /root/.ssh /run/sshd
    printf '%s\n' "$PUBLIC_KEY" >/root/.ssh/authorized_keys
    chmod 700 /root/.ssh
    chmod 600 /root/.ssh/authorized_keys
    ssh-keygen -A >/dev/null
    /usr/sbin/sshd -o PasswordAuthentication=no -o PermitRootLogin=prohibit-password
    say info "sshd listens on port 22"
fi

# The service itself needs no rights but its cache.
as_user() {
    if $is_root && id "$user" >/dev/null 2>&1; then
        exec setpriv --reuid="$user" --regid="$user" --init-groups env HOME="/home/$user" "$@"
    fi
    exec "$@"
}

mkdir -p "$WHISPER_CACHE"
if $is_root && id "$user" >/dev/null 2>&1; then
    chown -R "$user:" "$WHISPER_CACHE"
fi

# It fetches the model first, and tells on its health port that it is at it.
say info "the model ${WHISPER_MODEL:-small} is kept in $WHISPER_CACHE"
as_user python3 -B "$scripts/run.py" service whisper
