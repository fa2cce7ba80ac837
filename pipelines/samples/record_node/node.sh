#!/bin/sh
# The first process of a node: file systems, network, node_exporter, the usual work, the scenario.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp
mount -t proc proc /proc
mount -t sysfs sys /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/shm
mount -t hostfs none /media -o "$OUT"
mount -t hostfs none /opt -o "$HERE"
mount -t hostfs none /mnt -o "$(dirname "$LYNCEUS")"
LYNCEUS=/mnt/$(basename "$LYNCEUS")
for folder in /tmp /run /dev/shm /var/tmp; do mount -t tmpfs tmpfs $folder; done
mount -t ext4 /dev/ubda /srv
mkdir -p /srv/work
hostname "$NODE"
# stress-ng writes where it is started, and the root cannot be written.
cd /tmp
ip link set lo up
ip link set eth0 address "02:00:00:00:77:0$NUMBER"
ip link set eth0 up
ip addr add "10.77.0.$NUMBER/24" dev eth0
python=$(python3 -c 'import sys; print(sys.executable)' 2>/dev/null || echo /usr/bin/python3)
prometheus-node-exporter --web.listen-address=127.0.0.1:9100 --collector.tcpstat >/dev/null 2>&1 &
"$python" /opt/scrape.py /media/metrics &
# What processes do: programs that are started, and connections.
traced() {
    name=$1
    shift
    strace -f -ttt --seccomp-bpf -s 200 -e trace=execve,connect -e signal=none -o "/media/strace.$name.txt" "$@"
}
traced work "$python" /opt/work.py "$NUMBER" >/media/work.txt 2>&1 &
# The program is read from the host; a build may not be ready yet, and the faults wait for it.
until [ -x "$LYNCEUS" ]; do sleep 5; done
pilot=${PILOT:+--pilot=$PILOT}
lead=$(sed -n 's/^lead_in: \([0-9]*\)s$/\1/p' /media/scenario.yaml)
lead=$((lead + START - $(date +%s)))
[ "$lead" -gt 0 ] || lead=$((130 * (NUMBER - 1)))
sed -i "s/^lead_in: .*/lead_in: ${lead}s/" /media/scenario.yaml
traced scenario "$LYNCEUS" scenario run /media/scenario.yaml $pilot >/media/scenario.txt 2>&1
sleep 120
sync
halt -f
