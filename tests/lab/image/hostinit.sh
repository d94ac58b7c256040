#!/bin/sh
# First process of a lab host: makes the container look like a small Debian machine, then becomes its init.
# LAB_DNS: nameservers, one space between. A resolver on loopback (Docker's own on a user-defined network) is out of
# reach for containers inside this host, whose engine would silently take a public one instead.
set -u
PATH=/usr/sbin:/usr/bin:/sbin:/bin

# systemd 258 knows cgroup v1 no longer; older ones take it where the kernel offers its controllers only there.
version=$(systemctl --version | awk 'NR == 1 { print int($2) }')
layout=v2
grep -qE '^[1-9][0-9]*:[a-z]' /proc/self/cgroup && [ "$version" -lt 258 ] && layout=v1

mount -o remount,bind,rw /sys
mount --make-rshared /

# The engine mounts the groups read-only, and a remount leaves them so for an engine inside: mount them anew.
umount -R -l /sys/fs/cgroup
if [ "$layout" = v2 ]; then
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
else
  mount -t tmpfs -o mode=755,size=4m cgroup /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case $controllers in
      '') folder=unified type=cgroup2 options= ;;
      name=*) folder=${controllers#name=} type=cgroup options="none,$controllers" ;;
      *) folder=$controllers type=cgroup options=$controllers ;;
    esac
    mkdir -p "/sys/fs/cgroup/$folder"
    mount -t "$type" ${options:+-o "$options"} cgroup "/sys/fs/cgroup/$folder" || rmdir "/sys/fs/cgroup/$folder"
  done < /proc/self/cgroup
fi

node() { [ -e "$1" ] || mknod -m "$2" "$1" c "$3" "$4"; }
mkdir -p /dev/net
node /dev/net/tun 666 10 200
node /dev/fuse 666 10 229
node /dev/kvm 666 10 232
node /dev/kmsg 644 1 11

# A new boot id for each start: by it a reboot is told from a lost connection.
cat /proc/sys/kernel/random/uuid > /run/boot-id
mount --bind -o ro /run/boot-id /proc/sys/kernel/random/boot_id

umount /etc/resolv.conf
printf 'nameserver %s\n' $LAB_DNS > /etc/resolv.conf

# A host made from another one's snapshot is a machine of its own.
if [ "$(cat /etc/lab-name 2>/dev/null)" != "$(hostname)" ]; then
  rm -f /etc/ssh/ssh_host_*
  : > /etc/machine-id
  hostname > /etc/lab-name
fi
[ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
[ -e /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key

unset LAB_DNS
export container=docker
if [ "$layout" = v1 ]; then
  exec /sbin/init SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 systemd.unified_cgroup_hierarchy=0
fi
exec /sbin/init
