#!/busybox/busybox sh
# First process of a guest: mounts what a plain host has (cgroup2 alone, no bpffs, no tracefs),
# runs the suite, and powers off. Results go to the second serial port, the kernel's words to the
# first. The lines "guard-vm …" are read by xtask/src/vm/results.rs.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/busybox HOME=/root TERM=dumb TMPDIR=/tmp
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/lib
mount -t cgroup2 cgroup2 /sys/fs/cgroup
stty -F /dev/ttyS1 raw -echo
exec </dev/null >/dev/ttyS1 2>&1
ip link set lo up
echo "guard-vm boot $(uname -r)"
. /environment
# A guest that needs long to come up (its machine is slow, or others run beside it) will be slow:
# tests are as patient as it took seconds, within limits.
seconds=$(cut -d. -f1 /proc/uptime)
[ "$seconds" -gt 20 ] && seconds=20
[ "$seconds" -gt "$GUARD_TIME_SCALE" ] && GUARD_TIME_SCALE=$seconds
echo "guard-vm patience $GUARD_TIME_SCALE"

# Runs an executable, as cargo says it, so that one parser reads both.
execute() {
    name=$1
    shift
    echo "     Running $name (tests/$name)"
    cd /tmp
    {
        "/tests/$name" "$@" 2>&1
        echo $? >/tmp/guard-vm.code
    } | tee /tmp/guard-vm.out
    code=$(cat /tmp/guard-vm.code)
    echo
}

# Emulated processors that share real ones are late now and then: up to three tests that failed are
# tried once more, each alone and with twice the patience. Who fails again has failed; who does not
# is named in the results.
run() {
    execute "$@"
    failed=$(sed -n 's/^test \(.*\) \.\.\. FAILED$/\1/p' /tmp/guard-vm.out)
    count=$(echo $failed | wc -w)
    if [ "$code" = 101 ] && [ "$count" -ge 1 ] && [ "$count" -le 3 ]; then
        patience=$GUARD_TIME_SCALE
        GUARD_TIME_SCALE=$((patience * 2))
        for test in $failed; do
            execute "$1" --show-output --test-threads=1 --exact "$test"
            [ "$code" = 0 ] || break
        done
        GUARD_TIME_SCALE=$patience
    fi
    echo "guard-vm end $1 $code"
}

. /suite
echo "guard-vm done"
poweroff -f
