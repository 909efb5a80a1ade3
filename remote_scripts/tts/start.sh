#!/usr/bin/env bash
# The container's one command: on an endpoint it sets up the volume and serves the queue, on a pod it
# is an SSH server, and the first job sets up the volume.
#
#   start.sh            as above
#   start.sh --warmup   load the model, then end (also: --rp_… for the SDK's own options)
#   start.sh check      exit 0 while its server runs (HEALTHCHECK)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
say() { printf 'start.sh: %s\n' "$*" >&2; }

if [ "${1:-}" = check ]; then
    pgrep -f 'tts/handler.py|run.py serverless tts|tts/bootstrap.sh' >/dev/null || pgrep -x sshd >/dev/null
    exit
fi

if [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ] || [ $# -gt 0 ]; then
    exec "$here/bootstrap.sh" -- handler.py "$@"
fi
if [ -z "${PUBLIC_KEY:-}" ]; then
    say "neither a queue (RUNPOD_WEBHOOK_GET_JOB) nor a PUBLIC_KEY: nothing can bring a job"
    exit 2
fi
umask 077
mkdir -p ~/.ssh
chmod 700 ~/.ssh
printf '%s\n' "$PUBLIC_KEY" >~/.ssh/authorized_keys
chmod 600 ~/.ssh/authorized_keys
# A login shell starts with an empty environment: these decide where the worker looks.
env | grep -E '^(INDEXTTS_|GPUCTL_|AUDIO_VOICES_DIR|OUTPUT_AUDIO_DIR|CHECKPOINTS_DIR|USE_|S3_|CLEANUP_DAYS|MAX_TOKENS|RUNPOD_POD_ID|HF_)' \
    >~/.ssh/environment || true
chmod 600 ~/.ssh/environment
ssh-keygen -A
exec "${GPUCTL_SSHD:-/usr/sbin/sshd}" -D -e -o PasswordAuthentication=no -o PermitUserEnvironment=yes
