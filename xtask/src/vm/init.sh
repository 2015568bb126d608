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

# As cargo says it, so that one parser reads both.
run() {
    name=$1
    shift
    echo "     Running $name (tests/$name)"
    cd /tmp
    "/tests/$name" "$@"
    code=$?
    echo
    echo "guard-vm end $name $code"
}

. /suite
echo "guard-vm done"
poweroff -f
