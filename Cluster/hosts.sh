# shellcheck shell=bash disable=SC2154
# Sourced by Cluster/testbed, whose variables and functions it uses: the hosts of a bed and what joins them.

# Keys of this bed alone, and what ssh and sshd have to know about them.
make_keys() {
  local hosts=$1 i
  ssh-keygen -q -t ed25519 -N '' -C "$prefix" -f "$state/key"
  ssh-keygen -q -t ed25519 -N '' -C "$prefix" -f "$state/host_key"
  cp "$state/key.pub" "$state/authorized_keys"
  echo "127.0.0.1 localhost" > "$state/hosts_file"
  for (( i = 1; i <= hosts; i++ )); do
    echo "$network.$i node$i" >> "$state/hosts_file"
    echo "node$i,$network.$i $(cut -d' ' -f1,2 "$state/host_key.pub")" >> "$state/known_hosts"
  done
  cat > "$state/ssh_config" <<END
IdentityFile $state/key
IdentitiesOnly yes
UserKnownHostsFile $state/known_hosts
GlobalKnownHostsFile /dev/null
BatchMode yes
ConnectTimeout 10
LogLevel ERROR
END
}

# background COMMAND...: starts what outlives this script. It must not keep open what the caller has: who waits for that to be
# closed would wait for the bed's end. Its process number is in $!.
background() {
  (
    for descriptor in "/proc/$BASHPID/fd/"*; do
      if (( ${descriptor##*/} > 2 )); then eval "exec ${descriptor##*/}>&-"; fi
    done
    exec setsid "$@"
  ) < /dev/null &
  disown
}

start_host() {
  local i=$1 node=node$1 namespace=$prefix-$1
  mkdir -p "/etc/netns/$namespace"
  cp "$state/hosts_file" "/etc/netns/$namespace/hosts"
  # An account without a password, as in many containers, counts as locked, with keys too.
  if grep -qs '^root:!' /etc/shadow; then
    (umask 077 && sed 's/^root:!*/root:*/' /etc/shadow > "/etc/netns/$namespace/shadow")
  fi
  cat > "$state/$node.sshd" <<END
ListenAddress $network.$i
HostKey $state/host_key
AuthorizedKeysFile $state/authorized_keys
PidFile $state/$node.pid
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
MaxStartups 100
SetEnv OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
END
  # shellcheck disable=SC2016
  background ip netns exec "$namespace" unshare --uts bash -c '
    echo "$1" > /proc/sys/kernel/hostname
    # Hosts share no memory, and what killed ranks leave in it goes with the bed.
    mount -t tmpfs -o mode=1777 tmpfs /dev/shm || exit
    exec "$(command -v sshd)" -D -f "$2" -E "$3"' \
    testbed "$node" "$state/$node.sshd" "$state/$node.log" > "$state/$node.start" 2>&1
}

# start_relay HOSTS DELAY: makes the hosts' devices, whose frames a program hands on after the delay.
start_relay() {
  local seconds=$2 tries
  command -v python3 > /dev/null || fail 69 "python3 is missing, which --delay needs here; 'Cluster/testbed install' installs it"
  [[ -c /dev/net/tun ]] || fail 69 "/dev/net/tun is missing, which --delay needs here"
  case $seconds in
    *us) seconds=${seconds%us}e-6 ;;
    *ms) seconds=${seconds%ms}e-3 ;;
    *) seconds=${seconds%s} ;;
  esac
  background ip netns exec "$prefix-switch" python3 "$here/relay.py" "$1" "$seconds" > "$state/relay.log" 2>&1
  for (( tries = 0; tries < 100; tries++ )); do
    if grep -qs '^ready$' "$state/relay.log"; then return; fi
    if [[ -s $state/relay.log ]]; then break; fi
    sleep 0.1
  done
  fail 69 "--delay: $(tail -n 1 "$state/relay.log")"
}

# A host is up when ssh from the first one reaches it.
wait_for_host() {
  local node=$1 tries
  for (( tries = 0; tries < 100; tries++ )); do
    if [[ -s $state/node1.pid && -s $state/$node.pid ]] && (enter node1 ssh -F "$state/ssh_config" "$node" true) \
      < /dev/null 2> "$state/$node.ssh"; then
      return
    fi
    sleep 0.1
  done
  fail 70 "no ssh to $node: $(cat "$state/$node.ssh" "$state/$node.log" "$state/$node.start" 2> /dev/null | tail -n 3 | tr '\n' ' ')"
}
