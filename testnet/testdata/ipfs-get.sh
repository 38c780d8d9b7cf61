#!/usr/bin/env bash
# What people do today: an age file between two stock IPFS nodes on loopback.
#
#   ipfs-get.sh BYTES OUTPUT
#
# adds BYTES random bytes, encrypted by age, at one node, and prints how many seconds
# `ipfs cat | age -d` at another one takes into OUTPUT. The second node has no block of
# it before. Nothing outside this machine is contacted.
set -euo pipefail
bytes=$1 output=$2
dir=$(mktemp -d)
pids=()
finish() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$dir"
}
trap finish EXIT
for i in 1 2; do
  export IPFS_PATH=$dir/$i
  {
    ipfs init --profile test
    ipfs bootstrap rm --all
    ipfs config Addresses.Swarm --json '["/ip4/127.0.0.1/tcp/0"]'
    ipfs config Routing.Type none
    ipfs config --json Discovery.MDNS.Enabled false
  } >/dev/null
  ipfs daemon >"$dir/$i.log" 2>&1 &
  pids+=($!)
done
for i in 1 2; do
  for _ in $(seq 300); do
    grep -q 'Daemon is ready' "$dir/$i.log" && break
    sleep 0.1
  done
  grep -q 'Daemon is ready' "$dir/$i.log" || { cat "$dir/$i.log" >&2; exit 1; }
done
age-keygen -pq -o "$dir/key" 2>/dev/null
recipient=$(age-keygen -y "$dir/key")
cid=$(head -c "$bytes" /dev/urandom | age -r "$recipient" | IPFS_PATH=$dir/1 ipfs add -Q --cid-version 1 --chunker size-1048576)
export IPFS_PATH=$dir/2
ipfs swarm connect "$(IPFS_PATH=$dir/1 ipfs id -f '<addrs>' | head -n 1)" >/dev/null
began=$(date +%s.%N)
ipfs cat "$cid" | age -d -i "$dir/key" >"$output"
awk -v a="$began" -v b="$(date +%s.%N)" 'BEGIN { printf "%.3f\n", b - a }'
