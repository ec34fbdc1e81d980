#!/bin/bash
# A sweep on SLURM: Ray on the nodes of one job, and the sweep's driver on the first of them.
#
# Never launched on a SLURM cluster: tests/test_slurm.py runs it with stubs of SLURM's commands, and with nodes of Ray
# on one machine.
#
# What to type on a login node, after the lines #SBATCH are yours, with one folder that all nodes see, here /shared:
#   source ~/thaw-venv/bin/activate              # the job inherits your environment
#   sbatch clusters/slurm.sh /shared/sweep.yaml /shared/runs/sweep
#   thaw status /shared/runs/sweep               # also: thaw logs /shared/runs/sweep
#   thaw stop /shared/runs/sweep                 # ends sweep and job; the same `sbatch` continues the run
#
# RUN is the full path of the run, or s3://bucket/prefix, in place of `name` and `storage.root` of the sweep file. Where
# it exists, it is resumed: after a stop, a lost node, or a preemption. Before its time limit the job stops the sweep
# and queues itself again, so that one `sbatch` is enough for a sweep of days. One epoch must fit into a job.
#
# All nodes train, the first one too. With --no-kill the loss of another node costs the epochs that ran on it.

#SBATCH --job-name=thaw
#SBATCH --output=thaw-%j.out
#SBATCH --open-mode=append
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=64G
#SBATCH --time=12:00:00
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --no-kill

# Of the 300 seconds above: for epochs that are running, and for the end of Ray. Then they are cut off.
epoch_seconds=240
ray_seconds=20
start_seconds=300
# A job that cannot end one epoch would queue itself without end.
most_requeues=100

fail() {
  echo "error: $*" >&2
  exit 2
}

# Run on each node. Slurm numbers them from 0, the node of this script.
start_node() {
  # Ray opens its folder to every user; the one around it does not.
  mkdir -m 700 "$tmp" 2>/dev/null
  [ -O "$tmp" ] || fail "$tmp must be a folder of yours on $(hostname), got another user's; submit the job again"
  ulimit -n 65536 2>/dev/null
  if [ "$SLURM_NODEID" = 0 ]; then
    set -- --head --port="$port" --node-ip-address="$head" --include-dashboard=false \
      --ray-client-server-port="$((port + 1))"
  else
    for _ in {1..100}; do ray health-check --address "$address" >/dev/null 2>&1 && break; sleep 1; done
    set -- --address="$address"
  fi
  exec ray start --block --disable-usage-stats --temp-dir="$tmp/ray" \
    --num-cpus="$cpus" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" "$@"
}

# Remove what was written on the nodes. One that was lost does not hold up the end.
clean() {
  timeout "$ray_seconds" srun --no-kill --ntasks-per-node=1 rm -rf "$tmp"
}

# Return 0 as soon as process $1 has ended, 1 after $2 seconds.
ends_within() {
  local end=$((SECONDS + $2))
  while kill -0 "$1" 2>/dev/null; do
    [ "$SECONDS" -lt "$end" ] || return 1
    sleep 0.2
  done
}

sweep=${1-} run=${2-}
[ $# -eq 2 ] || fail "must get a sweep file and a run, got $# arguments; sbatch clusters/slurm.sh SWEEP.yaml RUN"
[[ $run == /* || $run == s3://* ]] || fail "RUN must be a full path or s3://bucket/prefix, got $run; write $PWD/$run"
[ -r "$sweep" ] || fail "SWEEP.yaml must be a file that this node can read, got $sweep; put it into a shared folder"
command -v thaw >/dev/null || fail "thaw must be on the PATH of the job, got $PATH; activate its environment first"
[ -n "${SLURM_JOB_ID-}" ] || fail "must run as a job of SLURM; type sbatch $0 $sweep $run"

# The address under which the other nodes know this one. Two jobs may share a node: each has its own ports.
head=$(getent ahostsv4 "$(hostname)" | awk 'NR == 1 { print $1 }')
[[ -n $head && ($head != 127.* || $SLURM_JOB_NUM_NODES -eq 1) ]] ||
  fail "this node's name must have an IPv4 address that the others reach, got '$head'; set \`head\` in this script"
port=$((20000 + SLURM_JOB_ID % 5000 * 2))
address=$head:$port
cpus=${SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}
# A path of a socket is short, so not below a long $TMPDIR. Set THAW_CACHE_DIR to keep decoded images between jobs.
tmp=/tmp/thaw-$SLURM_JOB_ID-${SLURM_RESTART_COUNT:-0}
export head port address cpus tmp THAW_CACHE_DIR="${THAW_CACHE_DIR:-$tmp/cache}"
export RAY_AUTH_MODE=token RAY_worker_killing_policy_by_group=true
# The token lies in the home, which all nodes share.
[ -n "${RAY_AUTH_TOKEN-}" ] || (umask 077 && ray get-auth-token --generate >/dev/null 2>&1)

srun --no-kill --kill-on-bad-exit=0 --ntasks-per-node=1 --cpus-per-task="$cpus" \
  --output="thaw-$SLURM_JOB_ID.ray.out" --open-mode=append bash -c "$(declare -f fail start_node); start_node" &
ray=$!
# Nodes that come later are used, too, but a trial of several workers may need all of them to begin.
nodes_here() {
  timeout 20 ray status --address "$address" 2>/dev/null | grep -c '^ 1 node_'
}
until [ "$(nodes_here)" -ge "$SLURM_JOB_NUM_NODES" ] || [ "$SECONDS" -ge "$start_seconds" ]; do
  if ! kill -0 "$ray" 2>/dev/null; then
    clean
    fail "Ray must start on the nodes, but has ended; see thaw-$SLURM_JOB_ID.ray.out"
  fi
  sleep 2
done

if thaw status "$run" >/dev/null 2>&1; then
  thaw resume "$run" --address "$address" &
else
  thaw sweep "$sweep" --name "$(basename "$run")" --set "storage.root=$(dirname "$run")" --address "$address" &
fi
driver=$!
again='' deadline=''
trap 'kill -TERM "$driver"; deadline=$((SECONDS + epoch_seconds))' TERM
trap 'kill -TERM "$driver"; deadline=$((SECONDS + epoch_seconds)); again=yes' USR1
while kill -0 "$driver" 2>/dev/null; do
  # As Ctrl-C, the second time: it ends at once.
  if [ -n "$deadline" ] && [ "$SECONDS" -ge "$deadline" ]; then kill -INT "$driver"; deadline=''; fi
  sleep 1
done
wait "$driver"
code=$?

kill -TERM "$ray" 2>/dev/null
ends_within "$ray" "$ray_seconds" || kill -KILL "$ray"
clean
# 130 is a clean stop; above 128 is also the end by a signal before the first trial.
if [ -n "$again" ] && [ "$code" -gt 128 ] && [ "${SLURM_RESTART_COUNT:-0}" -lt "$most_requeues" ]; then
  exec scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"
