#!/bin/sh
# on-hosts.sh REMOTE HOSTS COMMAND...: runs one command on every host, on all at once.
#
# REMOTE says how, as shell words that see $host and $command:   ssh "$host" "$command"
# HOSTS are names between spaces. Prints "HOST: LINE" for each line that a host said, and "HOST: exit N".
# Ends with 0 if every host did, else with the code of the first that did not. It waits for every host,
# and starts nothing but REMOTE. The experiment beside it uses it; it works alone too.
if [ $# -lt 3 ]; then
    echo "usage: on-hosts.sh REMOTE 'HOST...' COMMAND..." >&2
    exit 2
fi
remote=$1 hosts=$2
shift 2
command=$*
export command
directory=$(mktemp -d) || exit 2
trap 'rm -rf "$directory"' EXIT

number=0
for host in $hosts; do
    number=$((number + 1))
    (
        export host
        eval "$remote" </dev/null >"$directory/$number.said" 2>&1
        echo $? >"$directory/$number.code"
    ) &
done
if [ "$number" -eq 0 ]; then
    echo "on-hosts.sh: no host is named" >&2
    exit 2
fi
wait

worst=0 number=0
for host in $hosts; do
    number=$((number + 1))
    code=$(cat "$directory/$number.code")
    while IFS= read -r line; do printf '%s: %s\n' "$host" "$line"; done <"$directory/$number.said"
    printf '%s: exit %s\n' "$host" "$code"
    [ "$worst" -ne 0 ] || worst=$code
done
exit "$worst"
