#!/bin/sh
# Makes a folder with Debian's base system into the root of a kind node, for machines that can pull none.
# What kind's own image build takes from the network comes from Debian's packages and from the test bed here;
# kind's files come from its Go module.
#
# ROOT: the folder, as debootstrap left it     BASE: files of kind's base image
# VERSION: of Kubernetes                       KUBELET, KUBEADM, KUBECTL: programs
set -eu
: "${ROOT:?}" "${BASE:?}" "${VERSION:?}" "${KUBELET:?}" "${KUBEADM:?}" "${KUBECTL:?}"
cd "$ROOT"

put() { # MODE FILE: standard input becomes the file
    mkdir -p "$(dirname "$2")"
    cat >"$2"
    chmod "$1" "$2"
}

echo "kind's files" >&2
cp -r "$BASE"/files/. .
rm -rf LICENSES etc/systemd/system/containerd-fuse-overlayfs.service
chmod -R u+w etc usr/local kind
chmod 755 kind kind/bin kind/bin/* usr/local/bin/*
mkdir -p kind/manifests kind/images etc/kubernetes/manifests etc/cni/net.d opt/cni/bin
printf '%s' "$VERSION" >kind/version
cp "$KUBELET" "$KUBEADM" "$KUBECTL" usr/bin/
cp usr/lib/cni/* opt/cni/bin/

echo "containerd" >&2
# Debian's containerd drives cgroups itself here, asks for nothing that needs CAP_SYS_RESOURCE, and has one
# snapshotter. The pause image is the one that is loaded below.
sed -i -e 's/SystemdCgroup = true/SystemdCgroup = false/' \
    -e 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' \
    -e 's#/pause:[0-9.]*"#/pause:3.10.2"#' \
    -e '/^\[proxy_plugins/,/^$/d' \
    -e 's/^version = 2/version = 2\noom_score = 0/' etc/containerd/config.toml
# Images are in before the service counts as started, so that no kubelet tries to pull them.
sed -i -e 's#/usr/local/bin/containerd#/usr/bin/containerd#' \
    -e '/^Limit/d' -e '/^TasksMax/d' -e '/^OOMScoreAdjust/d' \
    -e 's#^Type=notify#Type=notify\nExecStartPost=/kind/bin/load-images\nTimeoutStartSec=600#' \
    etc/systemd/system/containerd.service
put 755 kind/bin/load-images <<'X'
#!/bin/sh
# A worker needs no control plane.
[ ! -e /var/lib/containerd/.images-loaded ] || exit 0
case $(hostname) in *control-plane*) images=/kind/images/*.tar ;; *) images=/kind/images/every-*.tar ;; esac
for image in $images; do
    ctr --namespace=k8s.io images import "$image" || exit 1
done
touch /var/lib/containerd/.images-loaded
X
put 644 etc/systemd/system/kubelet.service.d/20-after-images.conf <<'X'
[Unit]
After=containerd.service
Requires=containerd.service
X
mount --bind /dev dev
trap 'umount "$ROOT/dev"' EXIT
chroot . ctr oci spec >etc/containerd/spec.json
umount dev
trap - EXIT
jq 'del(.process.rlimits) | .hooks.createContainer += [{path: "/kind/bin/mount-product-files.sh"}]' \
    etc/containerd/spec.json >etc/containerd/cri-base.json
rm etc/containerd/spec.json

# kind asks it whether an image is there ("no" makes it load the image) and for the list of them.
put 755 usr/local/bin/crictl <<'X'
#!/bin/sh
[ "$1" = images ] && exec ctr --namespace=k8s.io images ls
exit 1
X

echo "sysctls" >&2
# These are the whole machine's, not the container's: the kubelet finds files of its own in their place.
put 755 kind/bin/own-sysctls <<'X'
#!/bin/sh
set -e
for entry in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    own=/run/own-sysctl.$(echo "${entry%=*}" | tr / .)
    [ ! -e "$own" ] || continue
    echo "${entry#*=}" >"$own"
    mount --bind "$own" "/proc/sys/${entry%=*}"
done
X
put 644 etc/systemd/system/kubelet.service.d/30-own-sysctls.conf <<'X'
[Service]
ExecStartPre=/kind/bin/own-sysctls
X
rm -f usr/lib/sysctl.d/50-pid-max.conf usr/lib/sysctl.d/*protect-links.conf etc/sysctl.d/99-sysctl.conf

echo "systemd" >&2
# As in kind's own image: nothing that belongs to a machine with hardware.
find lib/systemd/system/sysinit.target.wants -name systemd-tmpfiles-setup.service -delete
for wanted in lib/systemd/system/multi-user.target.wants etc/systemd/system/*.wants \
    lib/systemd/system/local-fs.target.wants lib/systemd/system/basic.target.wants; do
    rm -rf "${wanted:?}"/*
done
rm -f lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl*
grep -qs '^ReadKMsg=no' etc/systemd/journald.conf || echo ReadKMsg=no >>etc/systemd/journald.conf
[ -e sbin/init ] || ln -s /usr/lib/systemd/systemd sbin/init
chroot . systemctl --quiet enable kubelet.service containerd.service undo-mount-hacks.service
chroot . systemctl --quiet mask systemd-binfmt.service
rm -rf var/cache/apt/archives/*.deb var/lib/apt/lists/* usr/share/doc usr/share/man
