"""The switch of a test bed whose frames are under way for a while: python3 relay.py PORTS SECONDS

Makes the TAP devices port1 to portPORTS in its own network namespace, from where Cluster/testbed hands them to the hosts,
says "ready", and then delivers each frame that one of them sends SECONDS later to the host that it is for, in order.
Needs the standard library alone.
"""

import collections
import fcntl
import os
import select
import struct
import sys
import time

# From <linux/if_tun.h>.
TUNSETIFF = 0x400454CA
TUNSETOFFLOAD = 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4 = 0x01, 0x02
# With the virtio header before each frame the kernel hands over up to 64 KiB at once, unsegmented, as to a network card.
HEADER = 10
LARGEST = HEADER + 65536 + 64
# Bytes on the way, as in a switch of finite memory; what comes on top is lost.
MOST_BYTES = 256 << 20


def open_port(name):
    port = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(port, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR))
    fcntl.ioctl(port, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)
    return port


def deliver(port, frame):
    try:
        os.write(port, frame)
    except OSError:
        pass  # The host's link is down, or its queue full: the frame is lost, as on a cable.


def relay(ports, delay):
    under_way = collections.deque()  # (due, frame, port it came from), in order, since all take the same time
    bytes_under_way = 0
    port_of = {}  # by address, learned from what each port has sent
    while True:
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, frame, source = under_way.popleft()
            bytes_under_way -= len(frame)
            target = port_of.get(frame[HEADER : HEADER + 6])
            if target is not None:
                deliver(target, frame)
            else:
                for port in ports:
                    if port != source:
                        deliver(port, frame)
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for port in select.select(ports, [], [], wait)[0]:
            for _ in range(16):
                try:
                    frame = os.read(port, LARGEST)
                except OSError:
                    break
                port_of[frame[HEADER + 6 : HEADER + 12]] = port
                if bytes_under_way + len(frame) <= MOST_BYTES:
                    bytes_under_way += len(frame)
                    under_way.append((time.monotonic() + delay, frame, port))


def main():
    count, delay = int(sys.argv[1]), float(sys.argv[2])
    try:
        ports = [open_port(f"port{i + 1}") for i in range(count)]
    except OSError as error:
        sys.exit(f"no TAP devices on this machine: {error}")
    try:
        # Ahead of the ranks, which keep all cores busy: a frame must not wait for them.
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except OSError:
        pass  # Not allowed here: delays are longer while the machine is busy.
    print("ready", flush=True)
    relay(ports, delay)


main()
