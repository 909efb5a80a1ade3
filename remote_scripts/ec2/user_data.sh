#!/bin/sh
shutdown -P +90 "gpuctl: this instance ends by itself" || { nohup sh -c 'sleep 5400; poweroff -f || shutdown -P now' >/dev/null 2>&1 & }
# The line above comes first, so that nothing below can keep the instance from ending: EC2 was told
# to terminate it when it powers off. What follows may fail in any place; the timer stays.
# gpuctl puts its own numbers in place of +90, 5400 and the two assignments (services/ec2_script.py).
minutes=90
user="ubuntu"
root=${GPUCTL_ROOT:-}
state=$root/var/lib/gpuctl
per_boot=$root/var/lib/cloud/scripts/per-boot

ended() {
  echo "gpuctl: bootstrap $1"
  mkdir -p "$state"
  printf '%s\n' "$1" >"$state/bootstrap.part" && mv "$state/bootstrap.part" "$state/bootstrap"
  exit 0
}

# A reboot forgets a shutdown that waits: every later boot arms it again for what is left.
mkdir -p "$state" "$per_boot"
deadline=$(($(date +%s) + minutes * 60))
[ -s "$state/deadline" ] || echo "$deadline" >"$state/deadline"
cat >"$per_boot/gpuctl-timer" <<'TIMER'
#!/bin/sh
[ ! -s "${GPUCTL_SCHEDULED:-/run/systemd/shutdown/scheduled}" ] || exit 0
deadline=$(cat "${GPUCTL_ROOT:-}/var/lib/gpuctl/deadline" 2>/dev/null || echo 0)
left=$(((deadline - $(date +%s) + 59) / 60))
[ "$left" -gt 0 ] || left=1
shutdown -P "+$left" "gpuctl: this instance ends by itself"
TIMER
chmod 755 "$per_boot/gpuctl-timer"

# What the machine image promises, looked at before anybody relies on it.
command -v docker >/dev/null || ended "failed: docker is not in this machine image"
tries=0
until docker info >/dev/null 2>&1; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || ended "failed: the docker engine does not answer"
  sleep 1
done
usermod -aG docker "$user" || ended "failed: $user cannot be let in to docker"
gpus=$(nvidia-smi -L 2>&1) || ended "failed: nvidia-smi: $(printf '%s' "$gpus" | head -n 1)"
printf '%s\n' "$gpus" >"$state/gpus"
ended ready
