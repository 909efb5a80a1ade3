#!/usr/bin/env bash
# The container's one command: the WebUI on loopback, and what brings jobs to it.
#
#   start.sh            on a serverless endpoint RunPod's worker, on a pod an SSH server
#   start.sh --rp_…     the worker with its SDK's own options (local tests)
#   start.sh check      exit 0 when the WebUI answers (HEALTHCHECK)
#
# Whichever of the two ends first ends the container: a worker without its WebUI would take jobs and
# bill for nothing. The WebUI never listens beyond 127.0.0.1.
set -euo pipefail

webui_root=${WEBUI_ROOT:-/opt/webui}
webui_python=${WEBUI_PYTHON:-/opt/webui-venv/bin/python}
worker_python=${WORKER_PYTHON:-/opt/worker-venv/bin/python}
scripts=${GPUCTL_SCRIPTS:-/opt/gpuctl}
model=${MODEL_NAME:-awportrait_v14}
port=${WEBUI_PORT:-3000}
ready_limit_s=${GPUCTL_SD_READY_S:-600}
log=${WEBUI_LOG:-/tmp/webui.log}
pids=()

say() { printf 'start.sh: %s\n' "$*" >&2; }

answers() { # in a subshell: a refused connection would end the script
    (
        exec 3<>"/dev/tcp/127.0.0.1/$port"
        printf 'GET /sdapi/v1/sd-models HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
        IFS= read -r -t 10 line <&3
        [[ $line == *" 200 "* || $line == *" 401 "* ]]
    ) 2>/dev/null
}

end_all() {
    trap - TERM INT
    local pid
    for pid in "${pids[@]}"; do
        kill -TERM -- "-$pid" 2>/dev/null || true
    done
    for pid in "${pids[@]}"; do
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            kill -0 -- "-$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -KILL -- "-$pid" 2>/dev/null || true
    done
}

fail() {
    say "$1"
    say "the WebUI's last lines:"
    tail -n 40 "$log" >&2 || true
    end_all
    exit 1
}

# The folder itself, not its files: what is put on the volume later is then found by a refresh.
link_into() { # source folder, target folder
    [ -d "$1" ] || return 0
    mkdir -p "$2"
    ln -sfn "$1" "$2/$(printf '%s' "${1#/}" | tr / -)"
}

# The models that were baked in, else the network volume's: /runpod-volume on an endpoint,
# /workspace on a pod.
choose_models() {
    local folder
    for folder in ${GPUCTL_SD_MODELS:+"$GPUCTL_SD_MODELS"} /opt/models \
        "/runpod-volume/models/$model" "/workspace/models/$model"; do
        if [ -f "$folder/model.safetensors" ]; then
            printf '%s\n' "$folder"
            return 0
        fi
    done
    say "there is no model.safetensors of '$model': looked into ${GPUCTL_SD_MODELS:-/opt/models}," \
        "/runpod-volume/models/$model and /workspace/models/$model"
    say "put it on the network volume, or build the image with models/$model beside the Dockerfile"
    return 1
}

link_models() {
    local folder=$1 extra
    for extra in "$folder" "/runpod-volume/models/$model" "/workspace/models/$model"; do
        link_into "$extra/Lora" "$webui_root/models/Lora"
        link_into "$extra/VAE" "$webui_root/models/VAE"
        link_into "$extra/ControlNet" "$webui_root/models/ControlNet"
        link_into "$extra/embeddings" "$webui_root/embeddings"
    done
    mkdir -p "$webui_root/models/Stable-diffusion"
    ln -sfn "$folder/model.safetensors" "$webui_root/models/Stable-diffusion/model.safetensors"
}

start_webui() {
    local more=()
    # COMMANDLINE_ARGS is A1111's own variable for more flags.
    read -r -a more <<<"${COMMANDLINE_ARGS:-}"
    local flag
    for flag in ${more[@]+"${more[@]}"}; do
        case $flag in --listen | --share | --server-name* | --ngrok*)
            say "$flag is refused: the WebUI stays on loopback; use a tunnel"
            exit 2
            ;;
        esac
    done
    cd "$webui_root"
    # COMMANDLINE_ARGS would be read once more by launch.py.
    env -u COMMANDLINE_ARGS "$webui_python" -u launch.py --nowebui --api --port "$port" \
        --server-name 127.0.0.1 --skip-install --skip-version-check --skip-python-version-check \
        --skip-torch-cuda-test --no-download-sd-model --no-hashing --no-half-vae \
        --opt-sdp-attention --ckpt "$webui_root/models/Stable-diffusion/model.safetensors" \
        ${more[@]+"${more[@]}"} </dev/null > >(tee "$log" >&2) 2>&1 &
    webui_pid=$!
    pids+=("$webui_pid")
}

choose_front() {
    if [ -n "${RUNPOD_WEBHOOK_GET_JOB:-}" ] || [ $# -gt 0 ]; then
        printf 'queue\n'
    elif [ -n "${PUBLIC_KEY:-}" ]; then
        printf 'ssh\n'
    else
        say "neither a queue (RUNPOD_WEBHOOK_GET_JOB) nor a PUBLIC_KEY: nothing can bring a job"
        return 2
    fi
}

start_front() {
    if [ "$front" = queue ]; then
        say "taking jobs from the endpoint's queue"
        "$worker_python" -B "$scripts/run.py" serverless sd "$@" &
    else
        say "an SSH server: jobs come with their own scripts"
        mkdir -p ~/.ssh
        chmod 700 ~/.ssh
        printf '%s\n' "$PUBLIC_KEY" >~/.ssh/authorized_keys
        chmod 600 ~/.ssh/authorized_keys
        ssh-keygen -A
        /usr/sbin/sshd -D -e -o PasswordAuthentication=no &
    fi
    front_pid=$!
    pids+=("$front_pid")
}

# Ends with 1 when the WebUI does not answer in time. A worker that waits for it is billed.
watch_readiness() {
    local waited_s=0
    until answers; do
        if [ "$waited_s" -ge "$ready_limit_s" ]; then
            return 1
        fi
        sleep 1
        waited_s=$((waited_s + 1))
    done
    say "the WebUI answers on 127.0.0.1:$port after ${waited_s} s"
    sleep infinity
}

if [ "${1:-}" = check ]; then
    answers
    exit
fi

: >"$log"
front=$(choose_front "$@")
folder=$(choose_models)
link_models "$folder"
# Each in a process group of its own, so that what it starts ends with it.
set -m
trap 'say "told to stop"; end_all; exit 143' TERM INT
say "starting the WebUI with the models of $folder"
start_webui
start_front "$@"
watch_readiness &
watch_pid=$!
pids+=("$watch_pid")

code=0
wait -n -p ended "${pids[@]}" || code=$?
case $ended in
"$webui_pid") fail "the WebUI has died (exit $code)" ;;
"$watch_pid") fail "the WebUI did not answer within $ready_limit_s s" ;;
esac
say "what brings the jobs has ended (exit $code)"
end_all
exit "$code"
