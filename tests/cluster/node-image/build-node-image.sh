#!/bin/bash
# build-node-image.sh BIN_DIR WORK_DIR IMAGE
# BIN_DIR: what `../tools.sh FOLDER node` built, FOLDER/bin.
# WORK_DIR: a folder on a disk with about 5 GB free, not inside the repository.
# Needs root, mmdebstrap, python3, containerd (Debian's, as in the image) and podman
# (source podman-env.sh first).
set -euo pipefail
mkdir -p "$2"; bin=$(realpath "$1"); work=$(realpath "$2"); image=$3
here=$(dirname "$(realpath "$0")"); version=$("$bin/kubeadm" version -o short)
step() { printf '%s %4ds  %s\n' "$(date +%T)" $SECONDS "$*"; }

if [ ! -s "$work/base.tar" ]; then
  step "base system"
  mmdebstrap --variant=minbase \
    --include=systemd,containerd,runc,iptables,ipset,iproute2,conntrack,ethtool,socat,ebtables,kmod,procps,mount,util-linux,hostname,jq,containernetworking-plugins,ca-certificates,e2fsprogs,curl,busybox-static \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' bookworm "$work/base.tar" 2>"$work/base.log"
fi

step "root file system"
root=$work/root; rm -rf "$root"; mkdir -p "$root"
tar -C "$root" -xf "$work/base.tar"
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
# only the journal's units stay; everything else a container has no use for
for t in multi-user sysinit basic timers sockets local-fs getty remote-fs; do
  for d in "$root/etc/systemd/system/$t.target.wants" "$root/usr/lib/systemd/system/$t.target.wants"; do
    [ -d "$d" ] && find "$d" -mindepth 1 ! -name 'systemd-journald*' -delete
  done
done
cp -a "$here/rootfs/." "$root/"
chown -R 0:0 "$root/usr/local" "$root/etc/systemd" "$root/etc/containerd" "$root/kind"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
[ -e "$root/sbin/init" ] || ln -s /lib/systemd/systemd "$root/usr/sbin/init"
mkdir -p "$root/etc/systemd/system/multi-user.target.wants" "$root/etc/kubernetes/manifests" "$root/etc/systemd/journald.conf.d"
for u in containerd kubelet node-net node-policy; do
  ln -sf /etc/systemd/system/$u.service "$root/etc/systemd/system/multi-user.target.wants/"
done
printf '[Journal]\nReadKMsg=no\nStorage=volatile\n' > "$root/etc/systemd/journald.conf.d/node.conf"
echo "$version" > "$root/kind/version"
pause=$("$bin/kubeadm" config images list --kubernetes-version "$version" | grep '/pause:')
sed -i "s|@PAUSE@|$pause|" "$root/etc/containerd/config.toml"
install -m 755 "$bin"/{kubeadm,kubectl,kubelet,kube-router} "$root/usr/bin/"

step "images that kubeadm expects"
img=$work/img; rm -rf "$img"; mkdir -p "$img"
mk() { python3 "$here/mkimg.py" "$@"; }
proxy=$work/proxyroot; rm -rf "$proxy"; mkdir -p "$proxy"/usr/sbin "$proxy/usr/lib/x86_64-linux-gnu" "$proxy/usr/lib64" "$proxy/usr/local/bin" "$proxy/tmp" "$proxy/run" "$proxy/etc"
ln -s usr/lib "$proxy/lib"; ln -s usr/lib64 "$proxy/lib64"; ln -s usr/sbin "$proxy/sbin"
cp -a "$root/usr/sbin/xtables-nft-multi" "$proxy/usr/sbin/"
for n in iptables ip6tables; do for s in "" -save -restore; do ln -s xtables-nft-multi "$proxy/usr/sbin/$n$s"; done; done
cp -a "$root/usr/lib/x86_64-linux-gnu/xtables" "$proxy/usr/lib/x86_64-linux-gnu/"
# the match plugins bring a library of their own (statistic needs libm)
chroot "$root" sh -c 'ldd /usr/sbin/xtables-nft-multi /usr/lib/x86_64-linux-gnu/xtables/*.so' |
  grep -oE '/lib(64)?/[^ ]*\.so[^ ]*' | grep -v xtables/ | sort -u | while read -r l; do cp -L "$root$l" "$proxy/usr$l"; done
cp -L "$bin/kube-proxy" "$proxy/usr/local/bin/"
while read -r ref; do
  base=${ref##*/}; n=${base%%:*}
  case $n in
    kube-proxy) mk "$ref" "$img/$n.tar" - "/=$proxy" ;;
    coredns)    mk "$ref" "$img/$n.tar" /coredns "/coredns=$bin/coredns" ;;
    pause)      mk "$ref" "$img/$n.tar" /pause "/pause=$bin/pause" ;;
    *)          mk "$ref" "$img/$n.tar" - "/usr/local/bin/$n=$bin/$n" ;;
  esac
done < <("$bin/kubeadm" config images list --kubernetes-version "$version")
localpath=$(cat "$bin/versions/local-path-provisioner")
sed -i "s|@LOCALPATH@|$localpath|" "$root/kind/manifests/default-storage.yaml"
lp=$work/localpathroot; rm -rf "$lp"; mkdir -p "$lp/bin" "$lp/usr/bin"
cp "$root/bin/busybox" "$lp/bin/"; for n in sh mkdir rm; do ln -s busybox "$lp/bin/$n"; done
cp "$bin/local-path-provisioner" "$lp/usr/bin/"
mk "localhost/local-path-provisioner:$localpath" "$img/local-path-provisioner.tar" - "/=$lp"

step "images into the node's containerd"
cat > "$work/cd.toml" <<T
version = 2
root = "$root/var/lib/containerd"
state = "$work/cdstate"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.aufs"]
[grpc]
address = "$work/cd.sock"
T
containerd -c "$work/cd.toml" >"$work/cd.log" 2>&1 & cd=$!
for i in $(seq 50); do ctr -a "$work/cd.sock" version >/dev/null 2>&1 && break; sleep 0.2; done
for t in "$img"/*.tar; do ctr -a "$work/cd.sock" -n k8s.io images import --snapshotter overlayfs "$t" >/dev/null; done
ctr -a "$work/cd.sock" -n k8s.io images ls -q
# the unpacked snapshots are enough to run; drop the layer archives they came from
# (first from containerd's books, then the files, which it would collect only later)
blobs=$(find "$root/var/lib/containerd/io.containerd.content.v1.content/blobs" -type f -size +64k)
for b in $blobs; do ctr -a "$work/cd.sock" -n k8s.io content rm "sha256:${b##*/}" >/dev/null; done
kill $cd; wait $cd || true
rm -f $blobs
rm -rf "$work/cdstate" "$work/cd.sock" "$work/cd.sock.ttrpc"
du -sh "$root/var/lib/containerd" | cut -f1

step "node image"
tar -C "$root" --numeric-owner --xattrs -c . |
  podman import -c 'ENTRYPOINT ["/usr/local/sbin/node-entry","/sbin/init"]' -c 'ENV container=podman' -c 'STOPSIGNAL SIGRTMIN+3' - "$image"
podman images "$image"
step done
